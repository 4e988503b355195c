"""The short form: one kill of each kind."""

import random
from pathlib import Path

import pytest

from tests.projects import shell
from tests.torture.case import SHORT, assert_nothing_lost, contents, damaged
from tests.torture.stages import VICTIMS, compare, kill_stages, take_back_a_torn_lock


def test_a_killed_stage_runs_again(project: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_stages(project, [SHORT], len(VICTIMS), dice, SHORT), len(VICTIMS))


@pytest.mark.parametrize("left", [0, 300, 1500])
def test_a_lock_that_was_being_written_is_taken_back(project: Path, left: int) -> None:
    right, lock = contents(project), project / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:left])
    assert take_back_a_torn_lock(project) or left
    shell(project, "dvc", "repro", SHORT)
    compare(project, right, SHORT)


def test_what_was_lost_is_noticed(project: Path) -> None:
    assert not damaged(project / ".dvc/cache")
    weights = next(file for file in (project / ".dvc/cache/files").rglob("*") if file.is_file())
    weights.chmod(0o600)
    weights.write_bytes(b"something else")
    assert damaged(project / ".dvc/cache") == [weights]
