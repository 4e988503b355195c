"""The short form of `make torture`: one fault of each kind, in a project with one small checkpoint."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.__main__ import prepare
from tests.torture.case import Case, damaged
from tests.torture.disks import can_mount, fill_disks
from tests.torture.pushes import kill_a_pull, kill_the_client, kill_the_server, push_at_once
from tests.torture.queues import kill_workers
from tests.torture.stages import VICTIMS, kill_stages

STAGE = "optimize@quantized"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("torture") / "project", STAGE, variants=("quantized",))


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project", symlinks=True))


@pytest.fixture
def dice() -> random.Random:
    return random.Random()


def assert_nothing_lost(cases: Iterator[Case], count: int) -> None:
    tried = list(cases)
    assert len(tried) == count
    lost = "\n".join(f"{case.what}: {case.lost}" for case in tried if case.lost)
    assert not lost, lost


def test_a_killed_stage_runs_again(project: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_stages(project, [STAGE], len(VICTIMS), dice, STAGE), len(VICTIMS))


def test_a_push_whose_server_died_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_the_server(project, tmp_path, 1, dice), 1)


def test_a_push_that_was_killed_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_the_client(project, tmp_path, 1, dice), 1)


def test_a_pull_that_was_killed_completes(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_a_pull(project, tmp_path, 1, dice), 1)


def test_two_push_at_once(project: Path, tmp_path: Path, dice: random.Random) -> None:
    assert_nothing_lost(push_at_once(project, tmp_path, 2, dice), 2)


def test_experiments_whose_workers_died_are_made_again(project: Path, dice: random.Random) -> None:
    assert_nothing_lost(kill_workers(project, 1, dice, (0.2, 0.4)), 1)


@pytest.mark.skipif(not can_mount(), reason="this system lets this user mount no disk")
def test_a_full_disk_is_one_sentence(project: Path) -> None:
    assert_nothing_lost(fill_disks(project, [STAGE], [0.5], STAGE), 1)


def test_what_was_lost_is_noticed(project: Path) -> None:
    assert not damaged(project / ".dvc/cache")
    weights = next(file for file in (project / ".dvc/cache/files").rglob("*") if file.is_file())
    weights.chmod(0o600)
    weights.write_bytes(b"something else")
    assert damaged(project / ".dvc/cache") == [weights]
