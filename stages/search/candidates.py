"""A candidate, tried: cheap things first, and no further once another is better in both, or a budget can't be kept."""

import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from stages.captioner.checkpoint import BASELINE, checkpoint_bytes
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.evaluate import evaluate
from stages.optimize import optimize
from stages.page.words import ENDS
from stages.records.estimate import Estimate
from stages.search.captions import FirstLook, Unbuilt, look
from stages.search.choice import beaten, beaten_unbuilt, exceeded, keeps_budgets
from stages.search.other_jobs import cores_of_others
from stages.search.space import Knobs, Shape, recipe_of
from stages.search.times import Timing, over_the_baseline, time_candidate
from stages.setup.params import Accept, Params, Recipe

# What evaluation says of captions that a search goes by.
QUALITY = ("kl", "cider", "cider_change_share", "same_caption")
LOOKED_SECONDS = 0.5  # for other jobs, before a candidate is timed
Figures = dict[str, float]


class Pictures(NamedTuple):
    """Folders of pictures, and captions to guess words from, if there are any."""

    calibration: Path
    search: Path
    drafted: Path | None


class Given(NamedTuple):
    """What all candidates are tried with. `folder` holds the checkpoints of those that others are timed against, on
    `images` and with `decoding`; `trained` says whether captions mean anything."""

    params: Params
    pictures: Pictures
    unbuilt: Unbuilt
    folder: Path
    images: list[Path]
    decoding: Decoding
    trained: bool


class Tried(NamedTuple):
    """How far a candidate came and, if not to the end, why; its recipe and its figures, as far as they are known; what
    Optuna is told of it: its objectives, none if it can't be made, and by how much each budget is exceeded."""

    state: str
    why: str
    recipe: dict[str, Any]
    figures: Figures
    objectives: tuple[float, float] | None = None
    exceeded: dict[str, float] | None = None
    cores_of_others: float | None = None


class Before(NamedTuple):
    """The figures of the candidates that were built, by their numbers, and of those of them that were timed to the end,
    the one that leaves nothing out first. What is timed hangs on the clock; what is built doesn't."""

    built: dict[int, Figures]
    timed: dict[int, Figures]

    def add(self, number: int, state: str, figures: Figures) -> None:
        """Takes in what was found out about a candidate."""
        if "kl" in figures:
            self.built[number] = figures
        if state == "timed":
            self.timed[number] = figures

    def best(self, accept: Accept, *, trained: bool) -> int | None:
        """The fastest that keeps the budgets."""
        keeping = [number for number, own in self.timed.items() if keeps_budgets(own, accept, trained=trained)]
        return max(keeping, key=lambda number: self.timed[number]["lead"], default=None)


def try_candidate(number: int, knobs: Knobs, before: Before, given: Given, say: Callable[[str], None]) -> Tried:
    """Tries the candidate of a number as far as it is worth it. `say` is told what is done."""
    recipe = recipe_of(knobs, Shape.of(given.unbuilt.captioner.model.config))
    own = recipe.model_dump(mode="json", exclude_defaults=True)
    try:
        say(f"candidate {number}: tried on a few pictures")
        first = look(given.unbuilt, recipe)
        if not given.trained:
            first = first._replace(kl=0.0, same_caption_at_most=1.0)
        tried = Tried("given up", "", own, {"counted": first.counted, "first_kl": first.kl}, (first.weighed, first.kl))
        why, more = _why_unbuilt(first, before, given)
        if why:
            return tried._replace(why=why, exceeded=more)
        say(f"candidate {number}: built")
        checkpoint = built(number, recipe, given)
        say(f"candidate {number}: captioning")
        tried = _judge(tried, first, checkpoint, given)
        if number and (over := [budget for budget, amount in (tried.exceeded or {}).items() if amount > 0]):
            return tried._replace(why=f"on the pictures to search on it breaks {' and '.join(over)}")
        say(f"candidate {number}: timed")
        return _time(tried, number, before, given)
    except InputError as error:
        if number == 0:
            raise
        return Tried("refused", str(error), own, {})


def _why_unbuilt(first: FirstLook, before: Before, given: Given) -> tuple[str, dict[str, float]]:
    """Why a candidate isn't worth building, nothing if it may be, and by how much it exceeds a budget by then."""
    least = given.params.accept.same_caption_at_least
    if least is not None and first.same_caption_at_most < least:
        why = f"of the first pictures, at most {first.same_caption_at_most:.0%} keep their caption"
        return why, {"same_caption_at_least": least - first.same_caption_at_most}
    if beaten_unbuilt(first.counted, first.kl, before.built.values()):
        return "before it is built, another takes less and loses less", {}
    return "", {}


def path_of(number: int, given: Given) -> Path:
    """Where a candidate's checkpoint lies."""
    return given.folder / f"candidate_{number}"


def built(number: int, recipe: Recipe, given: Given) -> Path:
    """The checkpoint of a candidate, made if it is not there. Raises InputError as `optimize` does."""
    path, pictures = path_of(number, given), given.pictures
    if not path.is_dir():
        with redirect_stdout(StringIO()):  # as NNCF draws its progress there
            optimize(BASELINE, recipe, pictures.calibration, path, given.params.decoding, pictures.drafted)
    return path


def _judge(tried: Tried, first: FirstLook, checkpoint: Path, given: Given) -> Tried:
    """With what the built candidate's captions lose, and its size."""
    figures = tried.figures | {"checkpoint_mb": round(checkpoint_bytes(checkpoint) / 1e6, 2)}
    params, kl = given.params, 0.0
    if given.trained:
        with redirect_stdout(StringIO()):
            pictures, baseline = given.pictures.search, given.unbuilt.baseline
            found = evaluate(checkpoint, pictures, params.decoding, params.evaluation, 1, baseline).metrics
        figures |= {f"{key}{end}": found[f"{key}{end}"] for key in QUALITY for end in ("", *ENDS) if key in found}
        kl = float(found["kl"])
    else:
        figures["kl"] = kl
    more = exceeded(figures, params.accept, trained=given.trained)
    return tried._replace(figures=figures, objectives=(first.weighed, kl), exceeded=more)


def _time(tried: Tried, number: int, before: Before, given: Given) -> Tried:
    """With what a caption takes the built candidate, in turns with the one that leaves nothing out and the best so far;
    that one itself, with the baseline."""
    params, own = given.params, tried.figures
    others = cores_of_others(LOOKED_SECONDS)
    best = before.best(params.accept, trained=given.trained)
    numbers = sorted({0} if best is None else {0, best})
    against = [path_of(other, given) for other in numbers] if number else [BASELINE]

    def worth_more(lead: float) -> bool:
        return number == 0 or not beaten(lead, own["kl"], before.timed.values())

    checkpoints = [*against, path_of(number, given)]
    timing = time_candidate(checkpoints, given.images, given.decoding, params.benchmark, worth_more)
    figures = own | _figures(timing, before.timed.get(0))
    tried = tried._replace(figures=figures, cores_of_others=others)
    if len(timing.leads[0]) == 1:
        return tried._replace(why="after one session, another is faster and loses less")
    return tried._replace(state="timed")


def _figures(timing: Timing, uncut: Mapping[str, float] | None) -> Figures:
    """A candidate's times, with intervals where there are sessions enough; `uncut` are the figures of the one that
    leaves nothing out, none if it is that itself."""
    found: Figures = {"latency_ms": round(timing.latency_ms, 3)}
    if timing.peak_memory_mb is not None:
        found["peak_memory_mb"] = round(timing.peak_memory_mb, 1)
    if uncut is None:
        return found | timing.speedup().entries("speedup", 3) | {"lead": 1.0}
    if len(timing.leads[0]) == 1:
        return found | {"lead": round(timing.leads[0][0], 3)}
    whole = Estimate(*(uncut[f"speedup{end}"] for end in ("", *ENDS)))
    speedup = over_the_baseline(timing.lead(), whole)
    return found | timing.lead().entries("lead", 3) | speedup.entries("speedup", 3)


def keep_only(numbers: Collection[int], given: Given) -> None:
    """Deletes the checkpoints of all other candidates."""
    kept = {path_of(number, given) for number in numbers}
    for path in given.folder.glob("candidate_*"):
        if path not in kept:
            shutil.rmtree(path)
