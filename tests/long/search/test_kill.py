"""A search that is killed at any moment goes on with the candidates that it would have tried."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from stages.search.study import done, open_study
from tests.conftest import PROJECT

CANDIDATES = 7


def searching(workspace: Path, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.studies", str(workspace), str(folder), str(CANDIDATES)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )


def candidates(study: optuna.Study) -> list[tuple[dict[str, object], object]]:
    """The first of them, and what Optuna was told of each."""
    return [(trial.params, trial.values) for trial in done(study)[:CANDIDATES]]


@pytest.fixture(scope="module")
def expected(baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, object], object]]:
    """Those of a search that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    assert searching(baseline.parents[1], folder).wait(timeout=900) == 0
    return candidates(open_study(folder / "study.db"))


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_killed_search_goes_on_with_the_same_candidates(
    baseline: Path, expected: list[tuple[dict[str, object], object]], tmp_path: Path, after: int
) -> None:
    killed, database = searching(baseline.parents[1], tmp_path), tmp_path / "study.db"
    while killed.poll() is None and _candidates_so_far(database) < after + 1:
        time.sleep(0.1)
    assert killed.poll() is None, "it has ended by itself"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    left = optuna.load_study(study_name="search", storage=f"sqlite:///{database}")
    assert len(done(left)) < CANDIDATES, "too late to kill it"
    assert searching(baseline.parents[1], tmp_path).wait(timeout=900) == 0
    assert len(expected) == CANDIDATES and candidates(open_study(database)) == expected


def _candidates_so_far(database: Path) -> int:
    """All that were asked for, also that under way; none as long as there is no study.

    Read by SQLite alone: Optuna makes the tables of a database that it opens, as the search itself is just doing.
    """
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(_read_only(database)) as opened:
        return int(opened.execute("SELECT count(*) FROM trials").fetchone()[0])
    return 0


def _read_only(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
