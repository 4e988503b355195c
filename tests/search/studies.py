"""A search of a tiny model's recipes, in small.

`python -m tests.search.studies WORKSPACE FOLDER CANDIDATES` does so many, in a process that can be killed.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

import optuna

from stages.dataset import make_dataset
from stages.search.candidates import Given, Pictures
from stages.search.study import open_study
from stages.search.trials import prepare, search
from stages.setup.params import PARAMS, Accept, Params, Recipe, Scenes, read_params
from tests.conftest import PROJECT

DATASET = Scenes(kind="scenes", evaluation=2, calibration=4, search=6)
ACCEPT = Accept(checkpoint_mb_at_most=0.6)  # which the tiny model's on OpenVINO keep
# Start points, one of which can be made and timed, and one of which the tiny model is too small for.
CUTS: dict[str, dict[str, Any]] = {
    "possible": {"side": 96, "tokens": {"merged": 0.04}},
    "impossible": {"prune": {"method": "structured", "amount": 0.35}},
}
QUICK = {"sessions": 2, "rounds": 1, "seconds": 0, "images": 1, "threads": 1}


class EnoughError(Exception):
    """So many candidates as were asked for are done."""


def params() -> Params:
    own = read_params(PROJECT / PARAMS)
    uncut = own.recipe("openvino_int8").model_dump(exclude_defaults=True)
    cuts = {name: Recipe.model_validate(uncut | cut) for name, cut in CUTS.items()}
    return own.model_copy(
        update={
            "accept": ACCEPT,
            "variants": own.variants | cuts,
            "benchmark": own.benchmark.model_copy(update=QUICK),
            "search": own.search.model_copy(update={"first_pictures": 3}),
        }
    )


def start(workspace: Path, folder: Path) -> tuple[optuna.Study, Given]:
    """A study in a folder, or what is there of one, of the baseline in a workspace that is the current folder."""
    data = workspace / "searched"
    if not data.is_dir():
        make_dataset(DATASET, data / "eval", data / "calibration", data / "search")
    given = prepare(params(), Pictures(data / "calibration", data / "search", None), folder)
    return open_study(folder / "study.db"), given


def run(study: optuna.Study, given: Given, candidates: int) -> list[str]:
    """Searches until so many candidates are done; returns what was said."""
    said = []

    def say(_: float, what: str) -> None:
        said.append(what)
        if what.startswith(f"candidate {candidates}:"):
            raise EnoughError

    with contextlib.suppress(EnoughError):
        search(study, given, say)
    return said


if __name__ == "__main__":
    with contextlib.chdir(sys.argv[1]):
        run(*start(Path(), Path(sys.argv[2])), int(sys.argv[3]))
