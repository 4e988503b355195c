"""Captions in services and sandboxes that see little of /proc and /sys."""

import json
import sys
from pathlib import Path

import pytest

from tests.captioner.runtimes.test_captioner import RUNTIMES
from tests.conftest import PROJECT, Build, assert_one_sentence
from tests.hidden_proc import GVISOR, HIDING, needs_gvisor, needs_namespaces, run_hidden

WORKER = "stages.timing.worker"


@needs_namespaces
@pytest.mark.parametrize(
    ("name", "hiding"),
    [
        ("quantized", "no /proc and no /sys"),
        ("onnx_int8", "no /proc and no /sys"),
        ("onnx_int8", "cpuinfo without flags"),
        ("openvino_int8", "no /proc"),
        ("openvino_int8", "ProcSubset=pid"),
    ],
)
def test_captions_are_the_same_and_nothing_is_warned_of(
    name: str, hiding: str, build: Build, picture_files: list[Path]
) -> None:
    command = [sys.executable, "-m", "stages.caption", "--checkpoint", build(name), *picture_files]
    shown, hidden = (run_hidden(before, command, cwd=PROJECT) for before in ((), HIDING[hiding]))
    assert (shown.returncode, hidden.returncode) == (0, 0), hidden.stderr
    # ONNX Runtime and PyTorch say themselves, past all settings, that they find no /proc/cpuinfo.
    assert "captions may differ" not in hidden.stderr and "overflow" not in hidden.stderr
    assert hidden.stdout == shown.stdout


@needs_namespaces
@pytest.mark.parametrize("hiding", ["no /proc and no /sys", "an empty cpuinfo and no /sys"])
def test_openvino_which_would_look_for_cores_for_ever_is_one_sentence(
    hiding: str, build: Build, picture_files: list[Path]
) -> None:
    command = [sys.executable, "-m", "stages.caption", "--checkpoint", build("openvino_int8"), picture_files[0]]
    assert_one_sentence(run_hidden(HIDING[hiding], command, cwd=PROJECT), "OpenVINO can't count this machine's cores")


@needs_namespaces
@pytest.mark.parametrize("hiding", ["no /proc", "ProcSubset=pid"])
def test_a_worker_s_peak_of_memory_is_absent_where_the_kernel_does_not_tell_it(
    hiding: str, build: Build, picture_files: list[Path]
) -> None:
    command = [sys.executable, "-m", WORKER, build("onnx_int8"), "1"]
    caption = {"do": "caption", "images": [str(picture_files[0])], "decoding": {}}
    requests = "".join(json.dumps(request) + "\n" for request in (caption, {"do": "memory"}))
    process = run_hidden(HIDING[hiding], command, cwd=PROJECT, input=requests)
    assert process.returncode == 0, process.stderr
    caption_answer, memory = map(json.loads, process.stdout.splitlines())
    assert caption_answer["captions"]
    assert (memory["peak_memory_bytes"] is not None) == (hiding == "ProcSubset=pid")


@needs_gvisor
@pytest.mark.parametrize("name", RUNTIMES)
def test_in_gvisor_there_are_captions(name: str, build: Build, picture_files: list[Path]) -> None:
    """OpenVINO's may be others there: gVisor knows no bfloat16, and what it doesn't tell of isn't used."""
    command = [sys.executable, "-m", "stages.caption", "--checkpoint", build(name), *picture_files]
    here, there = (run_hidden(before, command, cwd=PROJECT) for before in ((), GVISOR))
    assert there.returncode == 0, there.stderr
    assert len(there.stdout.splitlines()) == len(picture_files)
    assert there.stdout == here.stdout or "captions may differ" in there.stderr
