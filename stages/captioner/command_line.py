"""What every command does with what people give it: text is decoded here, and what is wrong ends in one sentence."""

import codecs
import errno
import logging
import os
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .garbage import keep_for_good
from .pointers import pointer_in_words

if TYPE_CHECKING:
    from pydantic import ValidationError

# What Python says where a limit or the memory keeps it from starting a thread.
NO_THREAD = "can't start new thread"
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LONGEST_MESSAGE = 500  # characters
FEW = 3  # names in a sentence
# What a shell reports of a command that Ctrl-C ended: 128 and the signal's number.
INTERRUPTED = 130
# UTF-32 first, as its mark begins with UTF-16's.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
# Control characters, separators of lines, marks that turn the direction of writing, and bytes that are no UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 80, 80


class InputError(Exception):
    """Something the user gave can't be used. The message says what, where, and what to do, in one bounded sentence."""

    def __init__(self, message: str) -> None:
        line = " ".join(part.strip() for part in message.splitlines())
        super().__init__(shorten(printable(line), LONGEST_MESSAGE))


def printable(text: object) -> str:
    r"""Text in one line that any terminal shows: an escape for what it can't print, `\xff` for a byte outside UTF-8."""
    return UNPRINTABLE.sub(lambda found: _escape(found[0]), str(text))


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, limit: int) -> str:
    """Text of at most so many characters, its middle left out if need be."""
    end = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - end]}…{text[-end:]}"


def refuse_pointer(path: Path) -> None:
    """Raises InputError if a file only stands for one that Git LFS, git-annex or DVC keeps elsewhere."""
    if sentence := pointer_in_words(path):
        raise InputError(sentence)


def read_text(path: Path) -> str:
    """A text file as editors write it: UTF-8, or UTF-16 and UTF-32 with a byte-order mark, which is left out.

    Raises FileNotFoundError if there is no such file, InputError if it can't be read, is no text or only stands for
    one.
    """
    refuse_pointer(path)
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: save it as such") from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): correct its name or permissions") from None


def run(main: Callable[..., Any]) -> None:
    """Runs `main` with arguments from the command line; its type hints are the command's options."""
    import typer  # here, as all modules import this one and few are commands

    keep_for_good()  # all that is imported

    @wraps(main)
    def interruptible(*arguments: Any, **options: Any) -> None:
        try:
            main(*arguments, **options)
        except KeyboardInterrupt:  # here, as typer would print «Aborted!» and end with status 1
            sys.exit(INTERRUPTED)

    with ending_in_one_sentence():
        typer.run(interruptible)


@contextmanager
def ending_in_one_sentence() -> Iterator[None]:
    """Ends the process with a sentence and status 1 if the block finds something that the user has to put right."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.captureWarnings(True)
    for talkative in ("py.warnings", "PIL"):
        logging.getLogger(talkative).addHandler(logging.NullHandler())
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        _end_for_want_of_threads()
    except OSError as error:
        if error.errno == errno.EAGAIN:  # what a fork ends with
            _end_for_want_of_threads()
        if error.errno not in NO_SPACE:
            raise
        sys.exit(
            f"error: the disk is full or a quota is reached ({error.strerror}): free some space and run this again"
        )


def _end_for_want_of_threads() -> NoReturn:
    from .runtimes.helpers import thread_limits

    sys.exit(f"error: the system gives this no more threads or processes ({thread_limits()}): raise the limit")


def explain(error: "ValidationError") -> str:
    """The first thing that pydantic found wrong, as «where: what (got value)», each bounded."""
    first = error.errors(include_url=False)[0]
    where = shorten(".".join(str(part) for part in first["loc"]), 100)
    what = shorten(first["msg"].removeprefix("Value error, "), 250)
    shown = first["type"] != "json_invalid" and not isinstance(first["input"], dict)
    got = f" (got {shorten(SHORT.repr(first['input']), 80)})" if shown else ""
    return f"{where + ': ' if where else ''}{what}{got}"


def few(names: Collection[str]) -> str:
    """The shortest of some names, in a line as `brief` makes it, and how many there are more."""
    shown, more = sorted(names, key=lambda name: (len(name), name))[:FEW], len(names) - FEW
    return brief(", ".join(shown)) + (f" and {more} more" if more > 0 else "")


def brief(reason: object) -> str:
    """What another library or a server says is wrong, as one line of at most 120 characters."""
    return shorten(printable(str(reason).strip() or type(reason).__name__), 120)
