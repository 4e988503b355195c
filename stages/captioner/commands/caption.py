"""The command that captions pictures, in files and folders, with any checkpoint."""

import io
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..command_line import InputError, printable, run
from ..images import cut_off_in_words, open_image, pictures_below, share_there
from ..own_process import open_in_own_process
from ..runtimes.captioner import Captioner
from ..runtimes.decoding import Decoding
from ..runtimes.scores import Caption
from .decoding_options import (
    BannedWords,
    Beams,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    NoRepeatNgram,
    Prompt,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    chosen_decoding,
)
from .outputs import Outputs, open_outputs
from .sidecars import Sidecar
from .tables import Row, name_of

# Few enough pictures for their progress to be no news.
FEW = 4
# What a shell reports of a command whose reader has gone: 128 and SIGPIPE's number.
READER_GONE = 141


class Captioned(NamedTuple):
    """A picture, the share of it that its file holds, and its caption, or what keeps it from being opened."""

    path: Path
    caption: Caption | InputError
    share: float = 1.0


def find_pictures(paths: list[Path]) -> list[Path]:
    """The given files, and the pictures in the given folders and below, by name, each once.

    Raises InputError if a path is absent or a folder can't be listed.
    """
    found: list[Path] = []
    for path in paths:
        if os.path.isdir(path):
            found += pictures_below(path)
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise InputError(f"there is no file or folder {printable(path)}: check the name")
    if not found:
        raise InputError(
            f"there are no pictures in {', '.join(map(printable, paths))}: name files, or folders that hold some"
        )
    return list(dict.fromkeys(found))


def caption_files(
    checkpoint: Path,
    pictures: list[Path],
    decoding: Decoding,
    batch_size: int,
    threads: int | None = None,
    *,
    scored: bool,
) -> Iterator[Captioned]:
    """Captions picture files in order; scores are no numbers (NaN) unless asked for.

    Raises InputError if the checkpoint can't be used.
    """
    captioner = open_in_own_process(checkpoint, threads)
    for first in range(0, len(pictures), batch_size):
        opened = [(path, _try_to_open(path)) for path in pictures[first : first + batch_size]]
        images = [image for _, image in opened if isinstance(image, Image.Image)]
        captions = iter(_caption(captioner, images, decoding, scored=scored))
        for path, image in opened:
            if isinstance(image, InputError):
                yield Captioned(path, image)
            else:
                yield Captioned(path, next(captions), share_there(image))


def _caption(captioner: Captioner, images: list[Image.Image], decoding: Decoding, *, scored: bool) -> list[Caption]:
    if scored:
        return captioner.caption_with_scores(images, decoding)
    return [Caption(text, math.nan, None) for text in captioner.caption(images, decoding)]


def _try_to_open(path: Path) -> Image.Image | InputError:
    try:
        return open_image(path)
    except InputError as error:
        return error


def _print(line: str, stream: TextIO) -> None:
    """Prints a line at once. Ends the process without a word if nobody reads it any more, as behind `| head`."""
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or the interpreter would try again at its end
        sys.exit(READER_GONE)


def _row(path: Path, caption: Caption, share: float) -> Row:
    return Row(
        image=name_of(path),
        caption=caption.text,
        score=round(caption.score, 4),
        beam_score=None if caption.beam_score is None else round(caption.beam_score, 4),
        cut_off=round(share, 4) if share < 1 else None,
    )


def main(
    paths: Annotated[list[Path], typer.Argument(help="pictures, and folders of pictures")],
    checkpoint: Annotated[Path, typer.Option(help="a checkpoint directory, such as models/quantized")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line, with scores")] = False,
    write: Annotated[list[Sidecar] | None, typer.Option(help="put each caption beside its picture, as such")] = None,
    output: Annotated[Path | None, typer.Option(help="put captions into this .jsonl, .csv or .parquet file")] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="pass over what has captions there")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="pictures captioned at once")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per usable core")] = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram: NoRepeatNgram = None,
    banned_words: BannedWords = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
) -> None:
    """Captions pictures. Decoding options that are not given are those that the checkpoint was made with."""
    decoding = chosen_decoding(checkpoint, locals())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what an ASCII terminal can't show
    pictures = find_pictures(paths)
    with open_outputs(write or [], output, pictures, keep=skip_existing) as outputs:
        waiting, failed = _without_captions(pictures, outputs)
        scored = as_json or output is not None
        results = caption_files(checkpoint, waiting, decoding, batch_size, threads, scored=scored)
        for result in _shown(results if waiting else iter(()), len(waiting)):
            failed += not _give_out(result, outputs, as_json=as_json)
    if failed:
        raise InputError(f"{failed} of {len(pictures)} pictures could not be captioned: see above")


def _without_captions(pictures: list[Path], outputs: Outputs) -> tuple[list[Path], int]:
    """The pictures whose captions some output lacks, and of how many nobody can tell."""
    waiting: list[Path] = []
    failed = 0
    for picture in pictures:
        try:
            waiting += [picture] if outputs.lack(picture) else []
        except InputError as error:
            _print(f"skipped: {error}", sys.stderr)
            failed += 1
    if there := len(pictures) - len(waiting) - failed:
        _print(f"{there} of {len(pictures)} pictures have captions already", sys.stderr)
    return waiting, failed


def _shown(results: Iterator[Captioned], total: int) -> Iterable[Captioned]:
    """Results, with a bar that shows their progress on a terminal."""
    console = Console(stderr=True)
    hidden = total <= FEW or not console.is_terminal
    return track(
        results, "captioning", total=total, console=console, disable=hidden, transient=True, auto_refresh=False
    )


def _give_out(result: Captioned, outputs: Outputs, *, as_json: bool) -> bool:
    """Prints a caption and puts it where it belongs. Returns whether that could be done."""
    path, caption, share = result
    try:
        if isinstance(caption, InputError):
            raise caption
        row = _row(path, caption, share)
        outputs.put(path, row)
    except InputError as error:
        _print(f"skipped: {error}", sys.stderr)
        return False
    if share < 1:
        _print(cut_off_in_words(path, share), sys.stderr)
    # In ASCII where the output is not in UTF-8.
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    line = row.as_json(ascii_only=ascii_only) if as_json else printable(f"{path}: {row.caption}")
    _print(line, sys.stdout)
    return True


def command() -> None:
    """Runs `main` with arguments from the command line, as `blip-on-cpu` and `python -m stages.caption`."""
    run(main)
