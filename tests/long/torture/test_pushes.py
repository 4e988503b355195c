"""The short form: one death of each kind."""

import random
from pathlib import Path

from tests.torture.case import assert_nothing_lost
from tests.torture.pushes import kill_a_pull, kill_the_client, kill_the_server, push_at_once


def test_two_push_at_once(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(push_at_once(project, tmp_path, 2, dice), 2)


def test_a_push_whose_server_died_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_the_server(project, tmp_path, 1, dice), 1)


def test_a_push_that_was_killed_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_the_client(project, tmp_path, 1, dice), 1)


def test_a_pull_that_was_killed_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_a_pull(project, tmp_path, 1, dice), 1)
