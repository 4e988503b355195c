"""Experiments of `dvc exp run --queue` whose two workers die."""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import yaml

from tests.projects import shell
from tests.torture.case import LONGEST, Case, contents, lost_by, moments

STAGE = "optimize@quantized"
AMOUNTS = (0.2, 0.4, 0.6)


def kill_workers(project: Path, kills: int, dice: random.Random, amounts: Sequence[float] = AMOUNTS) -> Iterator[Case]:
    """Kills both workers, with all that they started, while they make checkpoints.

    What the README says to do afterwards must give the checkpoints of an undisturbed run: `dvc queue kill` and `remove`
    for those that seem to run, and to queue again what of them `dvc exp list` doesn't name, as one whose worker died
    when it was as good as done is there.
    """
    before = contents(project)
    start = time.perf_counter()
    _queue(project, amounts)
    _work(project)
    right, seconds = {amount: _made(project, amount) for amount in amounts}, time.perf_counter() - start
    assert all(right.values()), "the queue makes no experiments"
    for moment in moments(seconds, kills, dice):
        shell(project, "dvc", "exp", "remove", "--all-commits")
        _queue(project, amounts)
        shell(project, "dvc", "queue", "start", "--jobs", str(2))
        time.sleep(moment)
        struck = _kill_all_in(project)

        def check() -> None:
            if names := _running(project):
                shell(project, "dvc", "queue", "kill", "--force", *names)
                shell(project, "dvc", "queue", "remove", "--failed")
            _queue(project, [amount for amount in amounts if _name(amount) in names and not _made(project, amount)])
            _work(project)
            assert {amount: _made(project, amount) for amount in amounts} == right, "other checkpoints"
            assert contents(project) == before, "the workspace has changed"

        yield Case(f"both workers after {moment:.1f} s", struck, lost_by(check))


def _queue(project: Path, amounts: Sequence[float]) -> None:
    for amount in amounts:
        prune = f"++variants.quantized.prune={{method: l1_unstructured, amount: {amount}}}"
        shell(project, "dvc", "exp", "run", "--queue", "--name", _name(amount), "-S", prune, STAGE)


def _name(amount: float) -> str:
    return f"amount-{amount}".replace(".", "-")


def _work(project: Path) -> None:
    """Lets two workers do what is queued. Raises AssertionError if it never ends."""
    shell(project, "dvc", "queue", "start", "--jobs", str(2))
    deadline = time.monotonic() + LONGEST
    while _processes_in(project) or _unfinished(project):  # asked in this order, as DVC takes a second to answer
        assert time.monotonic() < deadline, f"the queue never ends: {shell(project, 'dvc', 'queue', 'status')}"
        time.sleep(0.2)


def _unfinished(project: Path) -> bool:
    """Whether an experiment waits or is being made."""
    said = shell(project, "dvc", "queue", "status")
    return "Queued" in said or "Running" in said


def _running(project: Path) -> list[str]:
    """The names of the experiments that are being made, or were when their workers died."""
    rows = [line.split() for line in shell(project, "dvc", "queue", "status").splitlines()]
    return [row[1] for row in rows if row and row[-1] == "Running"]


def _made(project: Path, amount: float) -> str:
    """The hash of the checkpoint that an experiment made; none if there is no such experiment."""
    found = shell(project, "git", "for-each-ref", "--format=%(objectname)", f"refs/exps/**/{_name(amount)}").split()
    if not found:
        return ""
    lock = yaml.safe_load(shell(project, "git", "show", f"{found[0]}:dvc.lock"))
    return str(lock["stages"][STAGE]["outs"][0]["md5"])


def _processes_in(project: Path) -> list[psutil.Process]:
    """Those that work in a project or in one of its experiments' own folders."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(project.resolve()):
                found.append(process)
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
    return found


def _kill_all_in(project: Path) -> bool:
    """Whether there was anybody to kill."""
    struck = False
    while processes := _processes_in(project):
        struck = True
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=1)
    return struck
