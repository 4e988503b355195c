"""Keeps engines from holding memory that they need no more. Does nothing but on Linux."""

import ctypes
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
    """While the block runs, gives back the memory pages of files in `folder` time and again.

    An engine that maps weights and repacks them for the CPU would otherwise hold them twice, although nobody reads the
    originals any more. A page that is needed after all is read from the file again.
    """
    if sys.platform != "linux":
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_release_until, args=(ended, str(folder.resolve())), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _release_until(ended: threading.Event, folder: str) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    finished = False
    while not finished:
        finished = ended.wait(PAUSE_SECONDS)
        for line in MAPS.read_text().splitlines():
            addresses, *_, file = line.split(maxsplit=5)
            if file.startswith(folder):
                first, last = (int(address, base=16) for address in addresses.split("-"))
                madvise(first, last - first, MADV_DONTNEED)
