"""Kills a stage at random moments and lets the next `dvc repro` go on."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import psutil
import yaml

from tests.projects import shell
from tests.torture.case import (
    LONGEST,
    Case,
    begin,
    contents,
    damaged,
    kill_group,
    lost_by,
    moments,
    seconds_of,
    status,
    wait_for_group,
)

# Who dies: all, as when the power goes; DVC, whose stage goes on alone; or the stage, as the one with most memory does.
Victim = Literal["all", "DVC", "the stage"]
VICTIMS: Sequence[Victim] = ("all", "DVC", "the stage")


def kill_stages(project: Path, stages: Sequence[str], kills: int, dice: random.Random, *targets: str) -> Iterator[Case]:
    """Kills each stage of a project so many times; all must be as it was once `dvc repro` has made its targets."""
    right = contents(project)
    for stage in stages:
        command = ("dvc", "repro", "--force", "--single-item", stage)
        for number, moment in enumerate(moments(seconds_of(project, *command), kills, dice)):
            victim = VICTIMS[number % len(VICTIMS)]
            process = begin(project, *command)
            time.sleep(moment)
            struck = _kill(process.pid, victim)
            process.wait(timeout=LONGEST)  # what DVC left has its number, which nobody may have when DVC looks
            torn = take_back_a_torn_lock(project)

            def check(process: "subprocess.Popen[bytes]" = process) -> None:
                wait_for_group(process)  # a stage without its DVC, which ends by itself
                shell(project, "dvc", "repro", *targets)
                compare(project, right, *targets)

            lost = lost_by(check)
            kill_group(process)
            where = ", within dvc.lock, taken back from Git" if torn else ""
            yield Case(f"{stage}: {victim} after {moment:.1f} s{where}", struck, lost)


def _kill(dvc: int, victim: Victim) -> bool:
    """Whether there was somebody to kill."""
    try:
        process = psutil.Process(dvc)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        below = process.children(recursive=True)
        if victim == "all":
            os.killpg(dvc, signal.SIGKILL)
        for each in {"all": [], "DVC": [process], "the stage": below}[victim]:
            each.kill()
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return victim != "the stage" or bool(below)


def take_back_a_torn_lock(project: Path) -> bool:
    """Does what the README says where DVC, which empties dvc.lock before it writes it, died in between."""
    try:
        lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8")) or {}
        # Cut off within a stage's list, it is YAML, but none that DVC takes.
        stages = [stage or {} for stage in (lock.get("stages") or {}).values()]
        lists = [stage.get(kind) or () for stage in stages for kind in ("deps", "outs")]
        whole = "schema" in lock and all(isinstance(entry, dict) for own in lists for entry in own)
    except yaml.YAMLError:
        whole = False
    if not whole:
        shell(project, "git", "restore", "dvc.lock")
    return not whole


def compare(project: Path, right: dict[str, str], *targets: str) -> None:
    """Raises AssertionError unless a project is whole, has these contents, and has nothing left to do."""
    now = contents(project)
    differing = sorted(name for name in now.keys() | right.keys() if now.get(name) != right.get(name))
    assert not differing, f"differ from an undisturbed run: {differing[:5]}"
    assert not damaged(project / ".dvc/cache"), "DVC's cache is damaged"
    assert not status(project, *targets), "not all is up to date"
