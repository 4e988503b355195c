"""Which candidates are worth going on with, and which three are found in the end."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stages.page.searches import Variant
from stages.setup.params import Accept

Figures = Mapping[str, Any]
# By how much another candidate must be better in both for one to be given up: the first look lacks int8 and most
# pictures, what is counted isn't what is timed, and one session has the luck of its processes.
LESS_LOSS, LESS_WORK, FASTER = 0.8, 0.95, 1.1


def exceeded(figures: Figures, accept: Accept, *, trained: bool) -> dict[str, float]:
    """By how much a built candidate's figures exceed each budget that doesn't hang on a clock, at most 0 where it is
    kept. A search has too few pictures for intervals: `dvc repro` judges what it finds by these."""
    found = {}
    if accept.checkpoint_mb_at_most is not None:
        found["checkpoint_mb_at_most"] = figures["checkpoint_mb"] - accept.checkpoint_mb_at_most
    if trained and accept.same_caption_at_least is not None:
        found["same_caption_at_least"] = accept.same_caption_at_least - figures["same_caption"]
    if trained and accept.cider_change_at_least is not None and "cider_change_share" in figures:
        found["cider_change_at_least"] = accept.cider_change_at_least - figures["cider_change_share"]
    return found


def keeps_budgets(figures: Figures, accept: Accept, *, trained: bool) -> bool:
    """Whether a timed candidate's figures keep all budgets, that of memory too."""
    memory = figures.get("peak_memory_mb", 0)
    too_large = accept.memory_mb_at_most is not None and memory > accept.memory_mb_at_most
    return not too_large and all(amount <= 0 for amount in exceeded(figures, accept, trained=trained).values())


def beaten_unbuilt(counted: float, kl: float, built: Iterable[Figures]) -> bool:
    """Whether a candidate that was built takes less, as counted, and loses less, both as they were before that."""
    return any(own["counted"] <= LESS_WORK * counted and own["first_kl"] <= LESS_LOSS * kl for own in built)


def beaten(lead: float, kl: float, timed: Iterable[Figures]) -> bool:
    """Whether a timed candidate is faster and loses less."""
    return any(own["lead"] >= FASTER * lead and own["kl"] <= LESS_LOSS * kl for own in timed)


def front(timed: Mapping[int, Figures]) -> list[int]:
    """Those that no other beats in time and loss, the fastest first."""
    by_lead = sorted(timed, key=lambda number: (-timed[number]["lead"], timed[number]["kl"]))
    found: list[int] = []
    for number in by_lead:
        if not found or timed[number]["kl"] < timed[found[-1]]["kl"]:
            found.append(number)
    return found


def choose(timed: Mapping[int, Figures]) -> dict[Variant, int]:
    """By the names that variants get, the numbers of up to three candidates, each once: the fastest, the one that loses
    least of those that are faster than what leaves nothing out, and the knee of the front between them.

    Source: I. Das, On characterizing the «knee» of the Pareto curve based on Normal-Boundary Intersection, Structural
    Optimization 1999: the point furthest from the line between the ends.
    """
    ends = [number for number in front(timed) if timed[number]["lead"] > 1] or front(timed)[:1]
    if not ends:
        return {}
    first, last = (timed[number] for number in (ends[0], ends[-1]))
    times, losses = math.log(first["lead"] / last["lead"]), first["kl"] - last["kl"]
    between = ends[1:-1]
    found: dict[Variant, int] = {"found_fast": ends[0]}
    if between:

        def gained(number: int) -> float:
            lost_time = math.log(first["lead"] / timed[number]["lead"]) / times
            return float((first["kl"] - timed[number]["kl"]) / losses - lost_time)

        found["found_even"] = max(between, key=gained)
    if len(ends) > 1:
        found["found_careful"] = ends[-1]
    return found
