"""The short form: two experiments, whose workers die once."""

import random
from pathlib import Path

from tests.torture.case import assert_nothing_lost
from tests.torture.queues import kill_workers


def test_experiments_whose_workers_died_are_made_again(project: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_workers(project, 1, dice, (0.2, 0.4)), 1)
