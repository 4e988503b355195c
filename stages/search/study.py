"""Optuna's study of candidates, in SQLite, so that it goes on after a kill.

Its two objectives are what a caption takes, as counted, and what captions lose, as measured. What Optuna sees is the
same whenever it is found again, and its random numbers are those of the seed and of how many candidates there were, so
the same seed, pictures and machine give the same candidates in the same order, killed or not. Measured times would not:
no two are the same. They decide what is done with a candidate, not which comes next.
Source: S. Watanabe, Tree-Structured Parzen Estimator, 2023; Y. Ozaki et al., Multiobjective Tree-Structured Parzen
Estimator, JAIR 2022.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from stages.search.space import Knobs

RESULT = "result"  # the attribute with what was found out about a candidate
Objective = Literal["time", "loss"]
BY_CHANCE = 12  # candidates, with those that it starts from, before what was found guides the next


def open_study(database: Path) -> optuna.Study:
    """A study as its database has it, or a new one. A candidate that a kill left under way is given up: it comes again,
    as the same number of others are done."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{database}", study_name="search", directions=["minimize"] * 2, load_if_exists=True
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def done(study: optuna.Study) -> list[FrozenTrial]:
    """The candidates of which all is known that will be, in their order."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    return [trial for trial in ended if RESULT in trial.user_attrs]


def ask(study: optuna.Study, seed: int, start: Sequence[Knobs], space: dict[str, BaseDistribution]) -> Trial:
    """The next candidate: one to start from, or one that Optuna proposes."""
    number = len(done(study))
    if number < len(start) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(start[number])
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = TPESampler(seed=own_seed, multivariate=True, n_startup_trials=max(BY_CHANCE, len(start)))
    return study.ask(space)


def tell(
    study: optuna.Study,
    trial: Trial,
    result: Mapping[str, Any],
    objectives: tuple[float, float] | None,
    exceeded: Mapping[str, float] | None,
) -> None:
    """What was found out about a candidate: `result` as JSON can say it; its two objectives, none if it can't be; and
    by how much each budget is exceeded, which is at most 0 where it is kept."""
    trial.set_user_attr(RESULT, dict(result))
    for name, amount in (exceeded or {}).items():
        trial.set_constraint(name, amount)
    if objectives is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, list(objectives))


def importance(study: optuna.Study) -> dict[Objective, dict[str, float]]:
    """How much each knob matters for being among the best tenth, by measured time and by loss; each adds up to 1. What
    too few candidates tell is absent.

    Source: S. Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces,
    IJCAI 2023: Optuna's own, which needs no further package, as its fANOVA would.
    """
    found: dict[Objective, dict[str, float]] = {}
    targets: dict[Objective, Callable[[FrozenTrial], float]] = {"time": _measured_time, "loss": _loss}
    for name, of in targets.items():
        known = {of(trial) for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
        if sum(map(math.isfinite, known)) >= BY_CHANCE:
            with warnings.catch_warnings(action="ignore"):  # that low is taken for good
                own = optuna.importance.get_param_importances(study, target=of)
            found[name] = {knob: round(share, 4) for knob, share in own.items()}
    return found


def _measured_time(trial: FrozenTrial) -> float:
    """In units of what the recipe takes that leaves nothing out; NaN where it was not timed."""
    return 1 / float(trial.user_attrs.get(RESULT, {}).get("figures", {}).get("lead", math.nan))


def _loss(trial: FrozenTrial) -> float:
    return float(trial.values[1])
