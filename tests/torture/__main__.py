"""`make torture`: interrupts whatever can be interrupted, many times, and counts what was lost."""

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.projects import commit, copy_project, shell
from tests.torture.case import Case
from tests.torture.disks import SHARES, can_mount, fill_disks
from tests.torture.pushes import kill_a_pull, kill_the_client, kill_the_server, push_at_once
from tests.torture.queues import kill_workers
from tests.torture.stages import kill_stages

VARIANTS = ("quantized", "onnx_int8", "openvino_int8")  # one for each runtime
FROZEN = {"train_demo"}  # which `dvc repro` never runs
Torture = Callable[[], Iterator[Case]]


def prepare(project: Path, *targets: str, variants: tuple[str, ...] = VARIANTS) -> Path:
    """A copy of this project in which these stages, or all, have run, in a commit."""
    copy_project(project, variants)
    shell(project, "dvc", "repro", *targets)
    commit(project)
    return project


def stages_of(project: Path) -> list[str]:
    """All stages that `dvc repro` runs."""
    return [name for name in shell(project, "dvc", "stage", "list", "--name-only").split() if name not in FROZEN]


def tortures(project: Path, place: Path, kills: int, seed: int) -> dict[str, Torture]:
    """What is done to a project, by name."""
    dice = random.Random(seed)
    writing = ["download", "dataset", *(f"optimize@{variant}" for variant in VARIANTS)]
    return {
        "dvc repro, disk full": lambda: fill_disks(project, writing, SHARES) if can_mount() else iter(()),
        "dvc push, server SIGKILL": lambda: kill_the_server(project, place, kills, dice),
        "dvc push, client SIGKILL": lambda: kill_the_client(project, place, kills, dice),
        "dvc pull, SIGKILL": lambda: kill_a_pull(project, place, kills, dice),
        "dvc push, two at once": lambda: push_at_once(project, place, kills, dice),
        "dvc queue, workers SIGKILL": lambda: kill_workers(project, kills, dice),
        "dvc repro, SIGKILL": lambda: kill_stages(project, stages_of(project), kills, dice),
    }


def main(
    kills: Annotated[int, typer.Option(min=1, help="of each stage, each push and the queue")] = 9,
    seed: Annotated[int, typer.Option(help="for the moments")] = 0,
    only: Annotated[str, typer.Option(help="those whose name has this in it")] = "",
) -> None:
    """Prints what each fault led to, and a table of counts. Ends with status 1 if anything was lost."""
    console = Console(markup=False, emoji=False, highlight=False)
    place = Path(tempfile.mkdtemp(prefix="torture-"))
    lost = False
    table = Table("what", "cases", "struck in time", "survived", "lost", title="Faults")
    console.print(f"making checkpoints in {place}")
    project = prepare(place / "project")
    for name, torture in tortures(project, place, kills, seed).items():
        if only not in name:
            continue
        cases = []
        for case in torture():
            cases.append(case)
            console.print(f"{name}: {case.what}: {case.lost[-2000:] or 'nothing lost'}")
        failed = sum(bool(case.lost) for case in cases)
        lost = lost or failed > 0
        numbers = (len(cases), sum(case.struck for case in cases), len(cases) - failed, failed)
        table.add_row(name, *map(str, numbers))
    console.print(table)
    if lost:
        sys.exit(f"something was lost; it lies in {place}")
    shutil.rmtree(place)


if __name__ == "__main__":
    typer.run(main)
