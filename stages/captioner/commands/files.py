"""What a command reads of others' files, in bounded memory, and writes among them, whole or not at all."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..checkpoint import open_regular
from ..command_line import NO_SPACE, InputError, refuse_pointer


def read_whole(path: Path, most: int) -> bytes | None:
    """The bytes of a file, if there is one. Raises InputError if it can't be read or has more bytes than `most`."""
    refuse_pointer(path)
    try:
        with open_regular(path) as stream:
            content = stream.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): correct its name or permissions") from None
    if len(content) > most:
        raise InputError(f"{path} has more than {most // 1024**2} MB, so nothing is put into it: move it away")
    return content


def replace(path: Path, content: bytes) -> None:
    """Writes a file, in place of the one or the link that has its name. Raises InputError if the system forbids it."""
    unfinished = path.with_name(f".{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(content)
        with suppress(FileNotFoundError):
            shutil.copymode(path, unfinished)
        unfinished.replace(path)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise InputError(f"{path} can't be written ({error.strerror}): check its folder's permissions") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
