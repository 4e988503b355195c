"""Keeps engines from holding memory that they need no more. Does nothing but on Linux with a /proc."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

MAPS = Path("/proc/self/maps")
MADV_DONTNEED = 4
M_ARENA_MAX = -8
PAUSE_SECONDS = 0.05
ONE_AT_A_TIME = threading.Lock()


def _after_fork() -> None:
    """Lets a fork in which nobody is in a block that a thread of its parent has entered."""
    global ONE_AT_A_TIME
    ONE_AT_A_TIME = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks no processes
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def small_heap() -> Iterator[None]:
    """Lets all threads share one heap from here on, and gives back what the block leaves free in it.

    With a heap for each thread, as glibc has it otherwise, what one thread frees no other thread can use.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    glibc = library is not None and hasattr(library, "malloc_trim")
    if library is not None and glibc:
        library.mallopt(M_ARENA_MAX, 1)
    yield
    if library is not None and glibc:
        library.malloc_trim(0)


@contextmanager
def released_while_read(files: Iterable[Path]) -> Iterator[list[object]]:
    """While the block runs, gives back the memory pages of `files` that it maps, time and again, and once at its end.

    An engine that maps weights and repacks them for the CPU would otherwise hold them twice, although nobody reads the
    originals any more. A page that is needed after all is read from the file again.

    Nothing that maps the files in the block may end before it: their address could come to hold what is no file's, and
    that would be lost. The list that it gives is for what must live on. For the same reason blocks wait for each other.
    """
    if sys.platform != "linux" or not os.access(MAPS, os.R_OK):
        yield []
        return
    held: list[object] = []
    ended = threading.Event()
    # A file may be a link, and the system names what is mapped. It writes a line break as \012.
    names = {os.fsencode(file.resolve()).replace(b"\n", rb"\012") for file in files}
    with ONE_AT_A_TIME:
        others = {first for first, _ in _mapped(names)}
        release = partial(_release_until, ended, names, others)
        thread = _try_to_start(release)
        try:
            yield held
        finally:
            ended.set()
            (thread.join if thread else release)()


def _try_to_start(function: Callable[[], None]) -> threading.Thread | None:
    """A thread that runs it, or None where the system gives no more threads."""
    thread = threading.Thread(target=function, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _release_until(ended: threading.Event, names: set[bytes], others: set[int]) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    finished = False
    while not finished:
        finished = ended.wait(PAUSE_SECONDS)
        for first, last in _mapped(names):
            if first not in others:
                madvise(first, last - first, MADV_DONTNEED)


def _mapped(names: set[bytes]) -> list[tuple[int, int]]:
    """Where files are mapped in this process: first and last address; nothing once the system says it no more."""
    try:
        lines = [line.split(maxsplit=5) for line in MAPS.read_bytes().split(b"\n")]
    except OSError:
        return []
    ranges = [addresses.split(b"-") for addresses, *_, file in filter(None, lines) if file in names]
    return [(int(first, base=16), int(last, base=16)) for first, last in ranges]
