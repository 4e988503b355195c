"""What a timed process says of itself."""

import sys
from pathlib import Path

import pytest

from stages.timing import worker
from stages.timing.worker import peak_memory_bytes


def test_the_peak_of_memory_grows_with_what_is_held() -> None:
    before = peak_memory_bytes()
    held = bytearray(300_000_000)
    after = peak_memory_bytes()
    assert before is not None and after is not None
    assert after > len(held)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps an account of each address space")
@pytest.mark.parametrize("text", ["Name:\tpython\nVmRSS:\t 100 kB\n", "", "VmHWM:\n", "VmHWM:\tunknown kB\n", None])
def test_where_the_kernel_does_not_tell_it_it_is_absent(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "status").write_text(text)
    monkeypatch.setattr(worker, "STATUS", tmp_path / "status")
    assert peak_memory_bytes() is None
