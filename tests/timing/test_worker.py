"""What a timed process says of itself."""

import sys
from pathlib import Path

import pytest

from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.timing import worker
from stages.timing.replay import Replay
from stages.timing.turns import caption_request
from stages.timing.worker import answer, peak_memory_bytes
from tests.conftest import Build


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


def test_what_untrained_weights_will_say_is_found_out_once(
    build: Build, picture_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_captioner(build("onnx")) as captioner:
        parts, encode, encoded = captioner.parts, captioner.parts.encode, []
        monkeypatch.setattr(parts, "encode", lambda pixels: encoded.append(1) or encode(pixels))
        monkeypatch.setattr(parts, "drafts", Replay())
        requests = [caption_request([path], Decoding().exactly(4)) for path in picture_files[:2]]
        said = [answer(captioner, request)["captions"] for request in requests * 3]
        assert len(encoded) == 2 + 6, "once for each picture, and for each caption"
        assert said == 3 * said[:2]
        longer = caption_request(picture_files[:1], Decoding().exactly(5))
        assert answer(captioner, longer)["captions"] != said[0] and len(encoded) == 2 + 6 + 2
