"""Keeps engines from holding memory that they need no more. Does nothing but on Linux."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAPS = Path("/proc/self/maps")
MADV_DONTNEED = 4
M_ARENA_MAX = -8
PAUSE_SECONDS = 0.05


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
def released_while_read(folder: Path) -> Iterator[None]:
    """While the block runs, gives back the memory pages of files in `folder` time and again, and once at its end.

    An engine that maps weights and repacks them for the CPU would otherwise hold them twice, although nobody reads the
    originals any more. A page that is needed after all is read from the file again.
    """
    if sys.platform != "linux":
        yield
        return
    ended = threading.Event()
    # A file may be a link, and the system names what is mapped. It writes a line break as \012.
    files = {os.fsencode(file.resolve()).replace(b"\n", rb"\012") for file in folder.iterdir()}
    thread = threading.Thread(target=_release_until, args=(ended, files), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _release_until(ended: threading.Event, files: set[bytes]) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    finished = False
    while not finished:
        finished = ended.wait(PAUSE_SECONDS)
        for line in MAPS.read_bytes().split(b"\n")[:-1]:
            addresses, *_, file = line.split(maxsplit=5)
            if file in files:
                first, last = (int(address, base=16) for address in addresses.split(b"-"))
                madvise(first, last - first, MADV_DONTNEED)
