"""The command that captions pictures, in files and folders, with any checkpoint."""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..command_line import InputError, printable, run
from ..images import CUT_OFF, cut_off_in_words, open_image, pictures_below, share_there
from ..own_process import open_in_own_process
from ..runtimes.decoding import Decoding
from .decoding_options import (
    Beams,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    Prompt,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    chosen_decoding,
)

# Few enough pictures for their progress to be no news.
FEW = 4
# What a shell reports of a command whose reader has gone: 128 and SIGPIPE's number.
READER_GONE = 141


class Captioned(NamedTuple):
    """A picture, the share of it that its file holds, and its caption, or what keeps it from being opened."""

    path: Path
    caption: str | InputError
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
    checkpoint: Path, pictures: list[Path], decoding: Decoding, batch_size: int, threads: int | None = None
) -> Iterator[Captioned]:
    """Captions picture files in order.

    Raises InputError if the checkpoint can't be used.
    """
    captioner = open_in_own_process(checkpoint, threads)
    for first in range(0, len(pictures), batch_size):
        opened = [(path, _try_to_open(path)) for path in pictures[first : first + batch_size]]
        images = [image for _, image in opened if isinstance(image, Image.Image)]
        captions = iter(captioner.caption(images, decoding))
        for path, image in opened:
            if isinstance(image, InputError):
                yield Captioned(path, image)
            else:
                yield Captioned(path, next(captions), share_there(image))


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


def _as_json(result: Captioned) -> str:
    """A line of JSON, in ASCII where the output is not in UTF-8."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    cut_off = {CUT_OFF: round(result.share, 4)} if result.share < 1 else {}
    return json.dumps({"image": _name(result.path), "caption": result.caption, **cut_off}, ensure_ascii=not unicode)


def _name(path: Path) -> str:
    r"""A path as text: a byte that is not UTF-8 as `\xff`, for JSON can't hold it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def main(
    paths: Annotated[list[Path], typer.Argument(help="pictures, and folders of pictures")],
    checkpoint: Annotated[Path, typer.Option(help="a checkpoint directory, such as models/quantized")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="pictures captioned at once")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per usable core")] = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    repetition_penalty: RepetitionPenalty = None,
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
    results = caption_files(checkpoint, pictures, decoding, batch_size, threads)
    progress = Console(stderr=True)
    shown = len(pictures) > FEW and progress.is_terminal
    skipped = 0
    for result in track(
        results,
        "captioning",
        total=len(pictures),
        console=progress,
        disable=not shown,
        transient=True,
        auto_refresh=False,
    ):
        if isinstance(result.caption, InputError):
            _print(f"skipped: {result.caption}", sys.stderr)
            skipped += 1
            continue
        if result.share < 1:
            _print(cut_off_in_words(result.path, result.share), sys.stderr)
        _print(_as_json(result) if as_json else printable(f"{result.path}: {result.caption}"), sys.stdout)
    if skipped:
        raise InputError(f"{skipped} of {len(pictures)} pictures could not be captioned: see above")


def command() -> None:
    """Runs `main` with arguments from the command line, as `blip-on-cpu` and `python -m stages.caption`."""
    run(main)
