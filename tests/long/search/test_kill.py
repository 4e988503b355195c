"""A search that is killed at any moment goes on with the candidates that it would have tried."""

import os
import signal
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


def candidates(study: optuna.Study) -> list[tuple[dict[str, object], list[float] | None]]:
    """The first of them, and what Optuna was told of each."""
    return [(trial.params, trial.values) for trial in done(study)[:CANDIDATES]]


@pytest.mark.parametrize("after", [0, 1])
def test_a_killed_search_goes_on_with_the_same_candidates(baseline: Path, tmp_path: Path, after: int) -> None:
    workspace = baseline.parents[1]
    whole = searching(workspace, tmp_path / "whole")
    assert whole.wait(timeout=600) == 0
    killed = searching(workspace, tmp_path / "killed")
    database = tmp_path / "killed" / "study.db"
    while killed.poll() is None and (not database.exists() or len(done(_look(database))) < after):
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(done(_look(database))) < CANDIDATES
    assert searching(workspace, tmp_path / "killed").wait(timeout=600) == 0
    expected = candidates(open_study(tmp_path / "whole" / "study.db"))
    assert len(expected) == CANDIDATES and candidates(open_study(database)) == expected


def _look(database: Path) -> optuna.Study:
    """A study that another process is at: nothing in it is ended."""
    return optuna.load_study(study_name="search", storage=f"sqlite:///{database}")
