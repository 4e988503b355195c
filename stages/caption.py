"""For people: captions pictures, in files and folders, with any checkpoint."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from stages.command_line import InputError, explain, run
from stages.images import SUFFIXES, open_image
from stages.params import read_params
from stages.runtimes.captioner import caption, open_captioner
from stages.runtimes.decoding import Decoding

# Few enough pictures for their progress to be no news.
FEW = 4


def find_pictures(paths: list[Path]) -> list[Path]:
    """The given files, and the pictures in the given folders and below, by name. Raises InputError if one is absent."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no file or folder {path}: check the name")
    if not found:
        raise InputError(
            f"there are no pictures in {', '.join(map(str, paths))}: name files, or folders that hold some"
        )
    return found


def caption_files(
    checkpoint: Path, pictures: list[Path], decoding: Decoding, batch_size: int, threads: int | None = None
) -> Iterator[tuple[Path, str | InputError]]:
    """Captions picture files in order and yields each with its caption, or with what keeps it from being opened.

    Raises InputError if the checkpoint can't be used.
    """
    captioner = open_captioner(checkpoint, threads)
    for first in range(0, len(pictures), batch_size):
        opened = [(path, _try_to_open(path)) for path in pictures[first : first + batch_size]]
        images = [image for _, image in opened if isinstance(image, Image.Image)]
        captions = iter(caption(captioner, images, decoding) if images else [])
        for path, image in opened:
            yield path, image if isinstance(image, InputError) else next(captions)


def _try_to_open(path: Path) -> Image.Image | InputError:
    try:
        return open_image(path)
    except InputError as error:
        return error


def main(
    paths: Annotated[list[Path], typer.Argument(help="pictures, and folders of pictures")],
    checkpoint: Annotated[Path, typer.Option(help="a checkpoint directory, such as models/quantized")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="pictures captioned at once")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per usable core")] = None,
    prompt: Annotated[str | None, typer.Option(help="words that every caption starts with")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="longest caption in tokens, without the prompt")] = None,
    min_new_tokens: Annotated[int | None, typer.Option(help="shortest caption in tokens, without the prompt")] = None,
    beams: Annotated[int | None, typer.Option(help="beam width; 1 is greedy")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="above 0 favors long captions in beam search")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="above 1 makes repeated words unlikely")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 does not sample")] = None,
    top_k: Annotated[int | None, typer.Option(help="sample among the k likeliest tokens; 0 is all")] = None,
    top_p: Annotated[float | None, typer.Option(help="sample among the likeliest that hold this share")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the sampling")] = None,
) -> None:
    """Captions pictures. Decoding options that are not given come from params.yaml."""
    given = {name: value for name, value in locals().items() if name in Decoding.model_fields and value is not None}
    try:
        decoding = Decoding.model_validate(read_params().decoding.model_dump() | given)
    except ValidationError as error:
        raise InputError(explain(error)) from None
    pictures = find_pictures(paths)
    results = caption_files(checkpoint, pictures, decoding, batch_size, threads)
    progress = Console(stderr=True)
    shown = len(pictures) > FEW and progress.is_terminal
    skipped = 0
    for path, result in track(
        results, "captioning", total=len(pictures), console=progress, disable=not shown, transient=True
    ):
        if isinstance(result, InputError):
            print(f"skipped: {result}", file=sys.stderr)
            skipped += 1
        elif as_json:
            print(json.dumps({"image": str(path), "caption": result}, ensure_ascii=False), flush=True)
        else:
            print(f"{path}: {result}", flush=True)
    if skipped:
        raise InputError(f"{skipped} of {len(pictures)} pictures could not be captioned: see above")


if __name__ == "__main__":
    run(main)
