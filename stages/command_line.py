"""How every command of this project ends when something is wrong: one sentence on stderr, exit status 1."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class InputError(Exception):
    """Something the user gave can't be used. The message says what, where, and what to do, in one sentence."""


def run(main: Callable[..., Any]) -> None:
    """Runs `main` with arguments from the command line; its type hints are the command's options."""
    import typer  # here, as all modules import this one and few are commands

    with ending_in_one_sentence():
        typer.run(main)


@contextmanager
def ending_in_one_sentence() -> Iterator[None]:
    """Ends the process with a sentence and status 1 if the block finds something that the user has to put right."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(logging.NullHandler())
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        sys.exit(
            f"error: the disk is full or a quota is reached ({error.strerror}): free some space and run this again"
        )


def explain(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, as «where: what (got value)»."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{where + ': ' if where else ''}{what}{got}"


def brief(reason: object) -> str:
    """What another library or a server says is wrong, as one line of at most 120 characters."""
    words = str(reason) or type(reason).__name__
    return "".join(character if character.isprintable() else " " for character in words)[:120].strip()
