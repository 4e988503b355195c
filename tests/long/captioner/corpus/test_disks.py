"""Disks that are full where Ray keeps its files."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.captioner.corpus.archives import COMMAND, QUICK, fill
from tests.conftest import PROJECT, Build, assert_one_sentence
from tests.torture.disks import APART, can_mount

FULL = 'mount -t tmpfs -o size=64k tmpfs "$1"; head -c 61440 /dev/zero > "$1/all"; shift; exec "$@"'


@pytest.mark.skipif(not can_mount(), reason="this user can't mount a disk of its own")
def test_a_disk_without_room_for_ray_is_named(
    build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path
) -> None:
    archive, output = fill(tmp_path / "archive", pictures, 2), tmp_path / "captions"
    asked = ["--checkpoint", build("onnx_int8"), "--images", archive, "--output", output, "--logs", temporary, *QUICK]
    command = [*APART, "sh", "-ec", FULL, "sh", temporary, *COMMAND, *asked]
    process = subprocess.run(
        list(map(str, command)), cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert_one_sentence(process, "Ray doesn't start", f"the disk of {temporary} is full", "--logs")
