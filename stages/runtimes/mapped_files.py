"""Keeps files that were mapped into memory from staying there once they have been read."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAPS = Path("/proc/self/maps")
MADV_DONTNEED = 4
PAUSE_SECONDS = 0.01


@contextmanager
def released_while_read(folder: Path) -> Iterator[None]:
    """While the block runs, gives back the memory pages of files in `folder` time and again.

    An engine that maps weights and repacks them for the CPU would otherwise hold them twice, although nobody reads the
    originals any more. A page that is needed after all is read from the file again. Does nothing but on Linux.
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
    while not ended.wait(PAUSE_SECONDS):
        for line in MAPS.read_text().splitlines():
            addresses, *_, file = line.split(maxsplit=5)
            if file.startswith(folder):
                first, last = (int(address, base=16) for address in addresses.split("-"))
                madvise(first, last - first, MADV_DONTNEED)
