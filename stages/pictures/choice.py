"""Which of the pictures that files may hold are taken: those that open, are whole and look like none before."""

import hashlib
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stages.captioner.command_line import LONGEST_MESSAGE, InputError, printable, shorten
from stages.captioner.images import open_whole

PictureFile = tuple[Path, list[str]]  # and its captions


def mixed(pictures: list[Path], folder: Path) -> list[Path]:
    """A folder's pictures in the order of the SHA-256 of their names.

    The first by name could all be of one holiday. Hashes mix them, always in the same way, and a picture that comes or
    goes moves no other's place.
    """
    return sorted(pictures, key=lambda path: hashlib.sha256(os.fsencode(path.relative_to(folder).as_posix())).digest())


def take_usable(*wanted: tuple[Iterator[PictureFile], int]) -> list[list[PictureFile]]:
    """From each source, its first usable pictures up to a number, none of them twice; opens no more than it must.

    What two sources would have in common goes to the first of them. Says on stderr which were left out, and why.
    """
    taken: dict[str, Path] = {}
    left_out: list[str] = []
    chosen = [list(islice(_usable(source, taken, left_out), number)) for source, number in wanted]
    if left_out:
        print(shorten(f"left out {len(left_out)} pictures: {'; '.join(left_out)}", LONGEST_MESSAGE), file=sys.stderr)
    return chosen


def _usable(pictures: Iterator[PictureFile], taken: dict[str, Path], left_out: list[str]) -> Iterator[PictureFile]:
    """The pictures that open, are whole and look like none before; notes why the others don't serve.

    `taken` holds the files of pictures by the digests of their pixels, `left_out` the reasons.
    """
    for path, captions in pictures:
        try:
            image = open_whole(path)
        except InputError as error:
            left_out.append(str(error))
            continue
        digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        if digest in taken:
            left_out.append(f"{printable(path)} is the same as {printable(taken[digest])}")
            continue
        taken[digest] = path
        yield path, captions
