"""Captions beside their pictures: `photo.txt`, as trainers of image models read it, and `photo.jpg.xmp`."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from ..command_line import InputError
from .files import read_whole, replace
from .xmp import describes, packet, with_caption

LARGEST = 10 * 1024**2  # bytes; one with a year's edits has less than one


class Sidecar(Enum):
    """A kind of file beside a picture."""

    txt = "txt"
    xmp = "xmp"

    def path(self, picture: Path) -> Path:
        """Where a picture's lies."""
        return picture.with_suffix(".txt") if self is Sidecar.txt else picture.with_name(f"{picture.name}.xmp")

    def has_caption(self, picture: Path) -> bool:
        """Whether there is one, with a description if it is XMP. Raises InputError if it can't be read."""
        path = self.path(picture)
        if self is Sidecar.txt:
            return path.exists()
        content = read_whole(path, LARGEST)
        with _named(path):
            return content is not None and describes(content)

    def write(self, picture: Path, caption: str) -> None:
        """Writes it, or puts the caption into the XMP that is there. Raises InputError if that can't be done, and then
        leaves what is there as it is."""
        path = self.path(picture)
        if self is Sidecar.txt:
            replace(path, f"{caption}\n".encode())
            return
        content = read_whole(path, LARGEST)
        with _named(path):
            merged = packet(caption) if content is None else with_caption(content, caption)
        replace(path, merged)


def check_paths(kinds: Collection[Sidecar], pictures: Collection[Path]) -> None:
    """Raises InputError if a caption would go to a picture, or to where another's goes."""
    taken = set(pictures)
    for kind in kinds:
        for picture in pictures:
            path = kind.path(picture)
            if path in taken:
                raise InputError(
                    f"the caption of {picture} would go to {path}, which is a picture or another one's: rename one"
                )
            taken.add(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raises InputError with a sidecar's name for what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path} {error}: it is left as it is; mend it or move it away") from None
