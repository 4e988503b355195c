"""`dvc repro` on a disk that is full before a stage has written all.

Run as a program, it is one such disk: a tmpfs that nobody else sees, and that is gone when the program ends.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from tests.projects import shell
from tests.sharing.commands import fails
from tests.torture.case import LONGEST, Case, contents, lost_by
from tests.torture.stages import compare

APART = ("unshare", "--user", "--map-root-user", "--mount")
SENTENCE = re.compile(r"^error: the disk is full or a quota is reached .{1,100}$", re.MULTILINE)
ROOM = 4 * 1024**3  # bytes
SHARES = (0.05, 0.5, 0.9)


def can_mount() -> bool:
    """Whether this system lets this user mount anything."""
    command = [*APART, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def fill_disks(project: Path, stages: Sequence[str], shares: Sequence[float], *targets: str) -> Iterator[Case]:
    """Runs stages on disks with room for such shares of what they write.

    All must be as it was once there is room and `dvc repro` has made its targets.
    """
    for stage in stages:
        for share in shares:
            arguments = [str(project), stage, str(share), *targets]
            command = [*APART, sys.executable, "-m", "tests.torture.disks", *arguments]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
            yield Case(f"{stage}, room for {share:.0%}", True, ended.stderr if ended.returncode else "")


def main(
    project: Path, stage: str, share: float, targets: Annotated[list[str] | None, typer.Argument()] = None
) -> None:
    """Ends with status 1 unless the stage fails in one sentence, and completes once there is room."""
    right = contents(project)
    with tempfile.TemporaryDirectory() as disk:
        _mount(ROOM, Path(disk))
        try:
            copy = Path(shutil.copytree(project, Path(disk) / "project", symlinks=True))
            lost = lost_by(lambda: _fill(copy, stage, share))
            lost = lost or lost_by(lambda: _go_on(copy, right, *(targets or ())))
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)
    if lost:
        sys.exit(lost)


def _fill(project: Path, stage: str, share: float) -> None:
    """Runs a stage without enough room. Raises AssertionError unless it says so in a sentence and leaves nothing."""
    disk = project.parent
    before = _used(disk)
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    outputs = [project / output["path"] for output in lock["stages"][stage]["outs"]]
    for output in outputs:
        shutil.rmtree(output)  # as DVC does before a stage makes it again
    removed = before - _used(disk)
    _mount(int(_used(disk) + share * removed), disk, "remount,")
    said = fails(project, "dvc", "repro", "--force", "--single-item", stage)
    assert len(SENTENCE.findall(said)) == 1, said[-500:]
    assert not outputs[0].exists() and not list(project.rglob("*.unfinished*")), "something half-written is left"
    _mount(ROOM, disk, "remount,")


def _go_on(project: Path, right: dict[str, str], *targets: str) -> None:
    shell(project, "dvc", "repro", *targets)
    compare(project, right, *targets)


def _used(disk: Path) -> int:
    sizes = os.statvfs(disk)
    return (sizes.f_blocks - sizes.f_bfree) * sizes.f_frsize


def _mount(size: int, disk: Path, how: str = "") -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", disk], check=True)


if __name__ == "__main__":
    typer.run(main)
