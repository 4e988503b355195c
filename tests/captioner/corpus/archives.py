"""Archives of drawn scenes, and the command that captions them."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from PIL import Image
from pyarrow import dataset, parquet

from tests.conftest import PROJECT

COMMAND = (sys.executable, "-m", "stages.captioner.commands.corpus")
# No trying out: models that tests caption with are tiny.
QUICK = ("--threads", "1", "--batch-size", "4")


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, pictures: Sequence[Image.Image], count: int, side: int | None = None) -> Path:
    """A folder with so many pictures, the same ones over and over, in folders of ten; of so many pixels a side, for
    opening them to take a while."""
    contents = [
        png(picture.resize((side, side), Image.Resampling.NEAREST) if side else picture) for picture in pictures
    ]
    for number in range(count):
        file = folder / f"{number // 10:02}" / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[number % len(contents)])
    return folder


def write_tar(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return file


def write_parquet(file: Path, rows_in_group: int = 2, **columns: Sequence[Any]) -> Path:
    parquet.write_table(pa.table(columns), file, row_group_size=rows_in_group)
    return file


def start(
    checkpoint: Path, source: object, output: object, *options: object, log: Path, **environment: str
) -> "subprocess.Popen[str]":
    """The command in a group of its own, so that Ctrl-C is for it alone; what it says goes to a file."""
    command = [*COMMAND, "--checkpoint", checkpoint, "--images", source, "--output", output, *QUICK, *options]
    with log.open("a", encoding="utf-8") as stream:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=PROJECT,
            env=os.environ | environment,
            stdout=stream,
            stderr=stream,
            text=True,
            start_new_session=True,
        )


def caption(checkpoint: Path, source: object, output: object, *options: object, log: Path, **environment: str) -> str:
    """What the command says, which must end well."""
    process = start(checkpoint, source, output, *options, log=log, **environment)
    try:
        status = process.wait(timeout=300)
    finally:
        process.kill()
    said = log.read_text(encoding="utf-8")
    assert status == 0, said
    return said


def rows(output: Path) -> list[dict[str, Any]]:
    """All captions in a folder, as any reader of Parquet finds them, by their numbers."""
    found: list[dict[str, Any]] = dataset.dataset(output, format="parquet").to_table().to_pylist()
    return sorted(found, key=lambda row: row["id"])


def survivors(temporary: Path) -> list[psutil.Process]:
    """The processes of Ray whose logs lie in a folder."""
    alive = psutil.process_iter(["cmdline", "status"])
    return [
        process
        for process in alive
        if str(temporary) in " ".join(process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
