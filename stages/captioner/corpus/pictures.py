"""What counts as a picture of an archive, and how one is opened wherever it lies."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pyarrow import fs

from ..command_line import InputError
from ..images import open_image
from .storage import is_remote, locate


class Picture(NamedTuple):
    """Where a picture lies: a file, a member of a tar from `offset` on, or a row of a Parquet file.

    `path` is the file's address. `member` is the member's name, or the column that holds the row's bytes; `offset` is
    the number of the first byte, or of the row; `size` is in bytes, and None for a row.
    """

    path: str
    member: str | None = None
    offset: int | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """What it is called in sentences and among captions."""
        if self.member is None:
            return self.path
        return f"{self.path}#{self.offset if self.size is None else self.member}"


def open_picture(picture: Picture, content: bytes | None = None) -> Image.Image:
    """The picture as `open_image` gives it, from its bytes if these have been read already.

    Raises InputError if it is no picture or can't be opened, OSError if a store doesn't answer, so that nobody takes
    all of its pictures for broken.
    """
    if content is None and picture.member is None and not is_remote(picture.path):
        return open_image(picture.path)
    try:
        return _open_bytes(_read(picture) if content is None else content, picture.name)
    except FileNotFoundError:
        raise InputError(f"{picture.name} does not exist: check the name") from None


def _read(picture: Picture) -> bytes:
    with _open_file(picture.path) as file:
        if picture.size is None:
            return bytes(file.readall())
        file.seek(picture.offset or 0)
        return bytes(file.read(picture.size))


@contextmanager
def _open_file(address: str) -> Iterator["fs.NativeFile"]:
    store, path = locate(address)
    with store.open_input_file(path) as file:
        yield file


def _open_bytes(content: bytes, name: str) -> Image.Image:
    """`open_image` takes files, so it is given one for a moment."""
    with tempfile.NamedTemporaryFile(prefix="picture-") as file:
        file.write(content)
        file.flush()
        try:
            return open_image(Path(file.name))
        except InputError as error:
            raise InputError(str(error).replace(file.name, name)) from None
