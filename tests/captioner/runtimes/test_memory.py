import ctypes
import mmap
import sys
import time
from pathlib import Path

import pytest

from stages.captioner.runtimes.memory import released_while_read, small_heap


def resident_kilobytes(file: Path) -> int:
    """How much of a mapped file this process holds in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(
        int(next(line for line in lines if line.startswith("Rss:")).split()[1])
        for name in lines
        if str(file).replace("\n", "\\012") in name
    )


@pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")
@pytest.mark.parametrize("links", [False, True])
def test_pages_of_files_are_given_back_and_can_be_read_again(links: bool, tmp_path: Path) -> None:
    files = [tmp_path / folder / "weights.bin" for folder in ("checkpoint ü\n1", "elsewhere")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"weights!" * 1_000_000)
    linked = tmp_path / "link"
    linked.symlink_to(files[0])
    with released_while_read([linked if links else files[0]]):
        maps = [read_mapped(file) for file in files]
        deadline = time.monotonic() + 10
        while resident_kilobytes(files[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert resident_kilobytes(files[0]) == 0
    assert maps[0][:] == b"weights!" * 1_000_000
    assert all(resident_kilobytes(file) > 7000 for file in files)


def read_mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    assert mapped[:] == b"weights!" * 1_000_000
    return mapped


@pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")
def test_what_others_have_mapped_is_left_to_them(tmp_path: Path) -> None:
    """They may give it up at any time, and its address would come to hold something else."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights!" * 1_000_000)
    others = read_mapped(file)
    with released_while_read([file]):
        own = read_mapped(file)
    assert resident_kilobytes(file) > 7000
    others.close()
    own.close()


@pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")
def test_memory_that_a_block_frees_goes_back_to_the_system() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)
    with small_heap():
        pieces = [library.malloc(100_000) for _ in range(500)]
        for piece in pieces:
            ctypes.memset(piece, 1, 100_000)
        for piece in pieces[:-1]:  # the last one keeps the heap from shrinking by itself
            library.free(piece)
        held = heap_kilobytes()
    assert heap_kilobytes() < held - 30_000
    library.free(pieces[-1])


def heap_kilobytes() -> int:
    """How much memory this process holds that is no file's."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1])
