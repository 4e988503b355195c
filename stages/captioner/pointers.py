"""Files that stand for others: what a clone holds until Git LFS, git-annex or DVC fetches what it keeps elsewhere."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

LONGEST = 1024  # bytes, which Git LFS's specification has pointers stay below
# The first line that Git LFS's specification asks for, and the older ones that its programs read.
LFS = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
    b"version http://git-media.io/v/",
)
# In an unlocked file, or in a link where the system has none.
ANNEX = re.compile(rb"(/|\S*\.git/)annex/objects/\S+\s*")


def pointer_in_words(path: Path) -> str | None:
    """What is wrong and what to do if a file stands for another, or isn't there as it is kept elsewhere; else None."""
    content = _read_short(path)
    if content.startswith(LFS):
        return (
            f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` where it was cloned, or download "
            "the file"
        )
    if ANNEX.fullmatch(content) or is_absent_from_annex(path):
        return f"{path} is kept by git-annex, and not here: run `git annex get` in its repository"
    if _is_absent_from_dvc(path):
        return f"{path} is kept by DVC, and not here: run `dvc pull` in its project"
    return None


def is_absent_from_annex(path: Path) -> bool:
    """Whether a path is a link to a file of git-annex that is not here."""
    with suppress(OSError, ValueError):
        return "annex/objects/" in Path(os.readlink(path)).as_posix() and not path.exists()
    return False


def _is_absent_from_dvc(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return not os.path.lexists(path) and path.with_name(f"{path.name}.dvc").is_file()
    return False


def _read_short(path: Path) -> bytes:
    """The bytes of a short file; none of a long one, a pipe, or what can't be read."""
    with suppress(OSError, ValueError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size < LONGEST:
            return path.read_bytes()
    return b""
