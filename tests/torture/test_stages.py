"""The short form: one kill of each kind."""

import random
from pathlib import Path

from tests.torture.case import SHORT, assert_nothing_lost, damaged
from tests.torture.stages import VICTIMS, kill_stages


def test_a_killed_stage_runs_again(project: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_stages(project, [SHORT], len(VICTIMS), dice, SHORT), len(VICTIMS))


def test_what_was_lost_is_noticed(project: Path) -> None:
    assert not damaged(project / ".dvc/cache")
    weights = next(file for file in (project / ".dvc/cache/files").rglob("*") if file.is_file())
    weights.chmod(0o600)
    weights.write_bytes(b"something else")
    assert damaged(project / ".dvc/cache") == [weights]
