"""The study alone, told of made-up candidates; real ones are in tests/long/search."""

from pathlib import Path

import optuna
import pytest

from stages.search.space import Knobs, Shape, space, start_points
from stages.search.study import ask, done, importance, open_study, tell
from stages.setup.params import PARAMS, read_params
from tests.conftest import PROJECT

SHAPE = Shape(128, 16, 6)
START = start_points(read_params(PROJECT / PARAMS).variants, SHAPE)


def advance(study: optuna.Study, seed: int = 0) -> None:
    trial = ask(study, seed, START, space(SHAPE))
    cut, layers = trial.params["tokens.merged"], trial.params["shorten"]
    if trial.params["side"] < SHAPE.side:
        return tell(study, trial, {"figures": {}}, None, None)
    work, loss = 1 - 4 * cut - 0.1 * layers, cut**2 + 0.01 * layers**2
    tell(study, trial, {"figures": {"lead": 1 / work}}, (work, loss), {"loss": loss - 0.02})
    return None


def knobs(study: optuna.Study) -> list[Knobs]:
    return [trial.params for trial in done(study)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    study = open_study(tmp_path_factory.mktemp("study") / "study.db")
    for _ in range(40):
        advance(study)
    return study


@pytest.mark.parametrize("after", [0, 1, 25])
def test_the_same_seed_gives_the_same_candidates_also_after_a_kill(
    whole: optuna.Study, tmp_path: Path, after: int
) -> None:
    database = tmp_path / "study.db"
    for kill in (after, after + 1):
        study = open_study(database)
        while len(done(study)) < kill:
            advance(study)
        ask(study, 0, START, space(SHAPE))  # and nothing is ever told of it
    study = open_study(database)
    while len(done(study)) < 30:
        advance(study)
    assert knobs(study) == knobs(whole)[:30]


def test_a_kill_before_a_start_was_asked_for_changes_nothing(whole: optuna.Study, tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.db")
    study.enqueue_trial(START[0])
    study = open_study(tmp_path / "study.db")
    for _ in range(3):
        advance(study)
    assert knobs(study) == knobs(whole)[:3] == START


def test_another_seed_gives_others_after_the_start(whole: optuna.Study, tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.db")
    for _ in range(5):
        advance(study, seed=1)
    assert knobs(study)[:3] == START and knobs(study)[3:] != knobs(whole)[3:5]


def test_what_was_found_guides_what_comes_next(whole: optuna.Study) -> None:
    kept = [trial.values is not None and trial.values[1] <= 0.02 for trial in done(whole)]
    assert sum(kept[-18:]) > sum(kept[3:21]), "of those by chance, fewer keep the budget"


def test_importance_is_of_the_knobs_that_matter(whole: optuna.Study, tmp_path: Path) -> None:
    found = importance(whole)
    assert found.keys() == {"time", "loss"}
    for own in found.values():
        assert own.keys() == space(SHAPE).keys() and sum(own.values()) == pytest.approx(1, abs=1e-3)
    assert importance(open_study(tmp_path / "study.db")) == {}
