"""Candidates, one after the other, until the time is over."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError
from stages.page.searches import FOUND
from stages.records.examples import read_examples
from stages.search.candidates import Before, Given, Pictures, Tried, built, keep_only, try_candidate
from stages.search.captions import caption_baseline, open_unbuilt
from stages.search.space import Shape, space, start_points
from stages.search.study import RESULT, ask, done, tell
from stages.setup.params import Params, Photographs, Recipe
from stages.timing.turns import decoding_to_time

# So many in a row that were tried before show that little else is left to try.
ALL_KNOWN = 100


def check_pictures(params: Params, pictures: Path) -> None:
    """Raises InputError if there are no pictures to search on."""
    dataset = params.chosen_model().dataset
    if isinstance(dataset, Photographs):
        raise InputError(
            f"the photographs of {params.model} are too few to judge captions on, or to spare any for a search: give "
            "it other pictures in params.yaml, with search: 200 in its dataset"
        )
    if len(read_examples(pictures)) < 2:
        raise InputError(
            f"there are no pictures to search on: say how many in params.yaml, as with search: 200 in the dataset of "
            f"{params.model}, and run `dvc repro dataset`"
        )


def prepare(params: Params, pictures: Pictures, folder: Path) -> Given:
    """Opens what all candidates are tried with."""
    baseline = caption_baseline(pictures.search, params, folder)
    unbuilt = open_unbuilt(pictures.calibration, pictures.search, params.search.first_pictures, baseline)
    images = [path for path, _ in read_examples(pictures.search)][: params.benchmark.images]
    return Given(params, pictures, unbuilt, folder, images, decoding_to_time(params), read_manifest(BASELINE).trained)


def search(study: optuna.Study, given: Given, say: Callable[[float, str], None]) -> None:
    """Tries candidates until the time is over, or hardly any other is left; `say` is told how many seconds were spent
    before the one under way, and what is done."""
    shape = Shape.of(given.unbuilt.captioner.model.config)
    settings, own_space, start = given.params.search, space(shape), start_points(by_hand(given.params), shape)
    before = Before({}, {})
    for number, own in enumerate(results(study)):
        before.add(number, own["state"], own["figures"])
    while (spent := _seconds(study)) < settings.minutes * 60 and not _all_known(study):
        number, trial, begin = len(done(study)), ask(study, settings.seed, start, own_space), time.perf_counter()
        _keep_opponents(study, before, given)
        tried = known(trial.params, study) or try_candidate(number, trial.params, before, given, partial(say, spent))
        before.add(number, tried.state, tried.figures)
        result = tried._asdict() | {"seconds": time.perf_counter() - begin}
        tell(study, trial, result, tried.objectives, tried.exceeded)


def _seconds(study: optuna.Study) -> float:
    return float(sum(own["seconds"] for own in results(study)))


def _all_known(study: optuna.Study) -> bool:
    last = results(study)[-ALL_KNOWN:]
    return len(last) == ALL_KNOWN and all(own["state"] == "again" for own in last)


def by_hand(params: Params) -> dict[str, Recipe]:
    """The variants that no search found."""
    return {name: recipe for name, recipe in params.variants.items() if name not in FOUND}


def results(study: optuna.Study) -> list[dict[str, Any]]:
    """What was found out about each candidate, in their order."""
    return [trial.user_attrs[RESULT] for trial in done(study)]


def known(knobs: dict[str, Any], study: optuna.Study) -> Tried | None:
    """What was found out about the same knobs before, if they were tried."""
    for trial in done(study):
        if trial.params == knobs:
            return Tried(**{field: trial.user_attrs[RESULT][field] for field in Tried._fields})._replace(state="again")
    return None


def _keep_opponents(study: optuna.Study, before: Before, given: Given) -> None:
    """Leaves the checkpoints that candidates are timed against, and makes those that are gone."""
    best = before.best(given.params.accept, trained=given.trained)
    numbers = {number for number in (0, best) if number in before.timed}
    keep_only(numbers, given)
    for number in numbers:
        built(number, Recipe.model_validate(results(study)[number]["recipe"]), given)
