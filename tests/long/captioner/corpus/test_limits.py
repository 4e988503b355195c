"""Disks and limits that leave Ray no room."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from tests.captioner.corpus.archives import COMMAND, QUICK, fill
from tests.conftest import PROJECT, Build, assert_one_sentence
from tests.long.captioner.test_limits import limit, needs_tools
from tests.torture.disks import APART, can_mount

FULL = 'mount -t tmpfs -o size=64k tmpfs "$1"; head -c 61440 /dev/zero > "$1/all"; shift; exec "$@"'


def caption(before: Sequence[object], *options: object) -> "subprocess.CompletedProcess[str]":
    command = [*before, *COMMAND, *options, *QUICK]
    return subprocess.run(list(map(str, command)), cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture
def asked(build: Build, pictures: list[Image.Image], tmp_path: Path) -> list[object]:
    archive = fill(tmp_path / "archive", pictures, 2)
    return ["--checkpoint", build("onnx_int8"), "--images", archive, "--output", tmp_path / "captions"]


@pytest.mark.skipif(not can_mount(), reason="this user can't mount a disk of its own")
def test_a_disk_without_room_for_ray_is_named(asked: list[object], temporary: Path) -> None:
    process = caption([*APART, "sh", "-ec", FULL, "sh", temporary], *asked, "--logs", temporary)
    assert_one_sentence(process, "Ray doesn't start", f"the disk of {temporary} is full", "--logs")


@needs_tools
def test_a_limit_of_threads_that_is_too_low_for_ray_is_named(asked: list[object], temporary: Path) -> None:
    process = caption(limit(nproc=40), *asked, "--logs", temporary)
    assert_one_sentence(process, "Ray doesn't start", "RLIMIT_NPROC of its user is 40 (ulimit -u)", "raise the limit")
