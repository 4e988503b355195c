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

from tests.test_pipeline import environment, shell
from tests.torture.case import LONGEST, Case, contents, lost_by
from tests.torture.stages import compare

APART = ("unshare", "--user", "--map-root-user", "--mount")
SENTENCE = re.compile(r"^error: the disk is full or a quota is reached .{1,100}$", re.MULTILINE)
ROOM = 4 * 1024**3  # bytes
SHARES = (0.05, 0.5, 0.95)


def can_mount() -> bool:
    """Whether this system lets this user mount anything."""
    command = [*APART, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def fill_disks(project: Path, stages: dict[str, str], shares: Sequence[float] = SHARES) -> Iterator[Case]:
    """Runs stages on disks with room for such shares of the folders that they write. `stages` names one for each."""
    for stage, folder in stages.items():
        for share in shares:
            command = [*APART, sys.executable, "-m", "tests.torture.disks", str(project), stage, folder, str(share)]
            ended = subprocess.run(
                command, env=environment(), capture_output=True, text=True, timeout=LONGEST, check=False
            )
            yield Case(f"{stage}, room for {share:.0%}", True, ended.stderr if ended.returncode else "")


def main(
    project: Path, stage: str, folder: str, share: Annotated[float, typer.Argument(help="of what the stage writes")]
) -> None:
    """Ends with status 1 unless the stage fails in one sentence, and completes once there is room."""
    right = contents(project)
    with tempfile.TemporaryDirectory() as disk:
        _mount(ROOM, disk)
        try:
            copy = Path(shutil.copytree(project, Path(disk) / "project", symlinks=True))
            lost = lost_by(lambda: _fill(copy, Path(disk), stage, folder, share, right))
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)
    if lost:
        sys.exit(lost)


def _fill(project: Path, disk: Path, stage: str, folder: str, share: float, right: dict[str, str]) -> None:
    shutil.copytree(project / folder, disk / "again")
    with_both = _used(disk)
    shutil.rmtree(disk / "again")
    # DVC removes what a stage made before it runs it again.
    _mount(int(_used(disk) - (1 - share) * (with_both - _used(disk))), str(disk), "remount,")
    ended = subprocess.run(
        ["dvc", "repro", "--force", "--single-item", stage],
        cwd=project,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert ended.returncode, "there was room enough"
    assert "Traceback" not in ended.stderr, ended.stderr[-500:]
    assert len(SENTENCE.findall(ended.stderr)) == 1, ended.stderr[-500:]
    assert not (project / folder).exists() and not list(project.rglob("*.unfinished")), "something half-written is left"
    _mount(ROOM, str(disk), "remount,")
    shell(project, "dvc", "repro")
    compare(project, right)


def _used(disk: Path) -> int:
    sizes = os.statvfs(disk)
    return (sizes.f_blocks - sizes.f_bfree) * sizes.f_frsize


def _mount(size: int, disk: str, how: str = "") -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", disk], check=True)


if __name__ == "__main__":
    typer.run(main)
