"""One fault and what became of it."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.projects import environment, shell

# What the pipeline makes that must be the same to the last bit, however often it was interrupted.
MADE = ("models", "data/demo", "data/eval", "data/calibration", "data/search", "data/baseline_next_tokens.npz")
NAME = re.compile(r"([0-9a-f]{32})(\.dir)?")
SHORT = "optimize@quantized"  # the only stage that the short forms, in the tests, interrupt
LONGEST = 900  # seconds that anything may take, also on a machine that others use


class Case(NamedTuple):
    """What was done to what, whether it was struck before it had ended, and what was lost by it; nothing if empty."""

    what: str
    struck: bool
    lost: str


def contents(project: Path) -> dict[str, str]:
    """The SHA-256 of each file that the pipeline makes and anybody builds on; unfinished ones have names, too."""
    made = [project / name for name in MADE]
    files = (file for place in made for file in (place, *place.rglob("*")) if file.is_file())
    return {
        file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name != ".gitignore"
    }


def damaged(store: Path) -> list[Path]:
    """Files of DVC's cache or of a remote that don't hold what their names, MD5 sums, say.

    Other names are those of what was being written, which nobody reads.
    """
    names = {file: NAME.fullmatch(file.parent.name + file.name) for file in store.glob("files/md5/??/*")}
    return [file for file, name in names.items() if name and hashlib.md5(file.read_bytes()).hexdigest() != name[1]]


def lost_by(check: Callable[[], None]) -> str:
    """What a check says that fails, without line breaks; empty if it passes."""
    try:
        check()
    except AssertionError as error:
        return " ".join(str(error).split()) or "a check failed"
    return ""


def assert_nothing_lost(cases: Iterable[Case], count: int) -> None:
    """Lets so many faults happen. Raises AssertionError with what each lost."""
    tried = list(cases)
    assert len(tried) == count
    lost = "\n".join(f"{case.what}: {case.lost}" for case in tried if case.lost)
    assert not lost, lost


def begin(project: Path, *command: str) -> "subprocess.Popen[bytes]":
    """Starts a command with a group of processes of its own, and lets it talk to nobody."""
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_group(process: "subprocess.Popen[bytes]") -> None:
    """Waits until a command and all that it started have ended. Raises AssertionError if they don't."""
    process.wait(timeout=LONGEST)
    deadline = time.monotonic() + LONGEST
    while is_alive(process.pid):
        assert time.monotonic() < deadline, f"something that {process.args!r} started never ends"
        time.sleep(0.1)


def is_alive(group: int) -> bool:
    """Whether a group has a process left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to a command and all that it started."""
    if is_alive(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=LONGEST)


def seconds_of(project: Path, *command: str) -> float:
    """How long a command takes when nothing happens to it. Raises AssertionError if it fails."""
    start = time.perf_counter()
    shell(project, *command)
    return time.perf_counter() - start


def moments(seconds: float, count: int, dice: random.Random) -> Sequence[float]:
    """Random moments within so many seconds, one in each of as many equal parts, in random order."""
    parts = [(part + dice.random()) * seconds / count for part in range(count)]
    dice.shuffle(parts)
    return parts


def status(project: Path, *targets: str) -> set[str]:
    """The stages that DVC would run for its targets, but for `host`, which always runs."""
    *_, changed = shell(project, "dvc", "status", "--json", *targets).splitlines()
    return set(json.loads(changed)) - {"host"}
