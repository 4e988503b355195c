"""Which checkpoint to ship: the fastest that keeps the budgets of `accept` in params.yaml, and why none of the others.

A budget of captions is compared with the worse bound of the figure's 95 % interval. Where the interval reaches from one
side of the budget to the other, the pictures are too few to tell.
"""

import math
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from scipy.optimize import brentq
from scipy.special import ndtri

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import InputError
from stages.records.final import Final, Lead
from stages.records.metrics import Figures, Metrics
from stages.setup.params import Accept, Dataset, Photographs

# The intervals are two-sided, at 95 %; of samples of the size that is named, four in five are to tell.
TAIL, POWER = 0.025, 0.8
# More would take longer than they are worth: each session opens all of them anew.
MOST_CONTENDERS = 3
UNTRAINED = "the weights are untrained and captions mean nothing"
CHANGE, SHARE = "{:+.1%}", "{:.1%}"


class Recommendation(BaseModel):
    """What to ship and why: `checkpoint` is None if no variant passes, or if the sample can't tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str | None
    sentence: str
    tied: list[str]
    refused: dict[str, list[str]]
    undecided: dict[str, list[str]]
    pictures_needed: int | None
    next_fastest: str | None = None
    lead: Lead | None = None


class Verdict(NamedTuple):
    """What a variant breaks, and what the pictures are too few to tell of it, each in one sentence, and how many
    pictures would tell; no number where no number would."""

    refused: list[str]
    undecided: list[str]
    pictures_needed: int | None = None


def judge(figures: Figures, accept: Accept, *, trained: bool) -> Verdict:
    """Compares a variant's figures with the budgets. `trained` says whether captions mean anything."""
    refused = _cost_breaches(figures["benchmark"], accept)
    if not trained:
        return Verdict(refused, [UNTRAINED])
    verdicts = _judge_captions(figures["quality"], accept)
    refused += [sentence for verdict in verdicts for sentence in verdict.refused]
    undecided = [sentence for verdict in verdicts for sentence in verdict.undecided]
    needed = [verdict.pictures_needed for verdict in verdicts if verdict.undecided]
    numbers = [number for number in needed if number is not None]
    return Verdict(refused, undecided, max(numbers) if numbers and len(numbers) == len(needed) else None)


def _cost_breaches(times: dict[str, Any], accept: Accept) -> list[str]:
    budgets = {
        "checkpoint_mb": ("it takes {:.1f} MB on disk", accept.checkpoint_mb_at_most),
        "peak_memory_mb": ("it takes {:.0f} MB of memory", accept.memory_mb_at_most),
        "load_s": ("its first caption may come only after {:.2f} s", accept.first_caption_s_at_most),
    }
    breaches = []
    for key, (sentence, budget) in budgets.items():
        value = times.get(f"{key}_ci_high", times.get(key))
        if budget is None:
            continue
        if value is None:
            breaches.append(f"the system does not tell how much memory it takes, and {budget:g} are allowed")
        elif value > budget:
            breaches.append(f"{sentence.format(value)}, and {budget:g} are allowed")
    return breaches


def _judge_captions(quality: dict[str, Any], accept: Accept) -> list[Verdict]:
    verdicts = []
    change, same = accept.cider_change_at_least, accept.same_caption_at_least
    if change is not None and "cider_change_share" in quality:
        deviation = quality["cider_change_share_deviation"]
        verdicts.append(_judge_share(quality, "cider_change_share", change, deviation, "CIDEr changes by {}", CHANGE))
    elif change is not None and "cider" in quality:
        verdicts.append(Verdict([], ["the baseline's CIDEr is 0, so no share of it can be kept"]))
    elif change is not None and same is None:
        verdicts.append(Verdict([], ["these pictures have no captions: set accept.same_caption_at_least"]))
    if same is not None:
        share = quality["same_caption"]
        deviation = math.sqrt(share * (1 - share))
        verdicts.append(_judge_share(quality, "same_caption", same, deviation, "captions stay the same for {}", SHARE))
    return verdicts


def _judge_share(
    quality: dict[str, Any], key: str, budget: float, deviation: float, sentence: str, form: str
) -> Verdict:
    value, low, high = (quality[f"{key}{end}"] for end in ("", "_ci_low", "_ci_high"))
    figure = sentence.format(_interval(quality, key, form))
    limit = f"at least {form.format(budget)} is asked for"
    if low >= budget:
        return Verdict([], [])
    if high < budget:
        return Verdict([f"{figure}, and {limit}"], [])
    seen = quality["images"]
    needed = _pictures_needed(abs(value - budget), deviation, seen)
    more = f"about {needed} would" if needed else "no number would, as it lies on the budget itself"
    return Verdict([], [f"{figure}, and {limit}: {seen} pictures can't tell, {more}"], needed)


def _interval(quality: dict[str, Any], key: str, form: str) -> str:
    value, low, high = (form.format(quality[f"{key}{end}"]) for end in ("", "_ci_low", "_ci_high"))
    return f"{value} ({low} to {high})"


def _pictures_needed(distance: float, deviation: float, seen: int) -> int | None:
    """How many pictures tell a figure from a budget so far away, if the deviation is that of one picture.

    By the normal approximation to the power of a test whose bound counts one picture more that nobody has seen, as
    those of `small_samples` do: its weight is exponential, with a mean of one picture. Without a deviation that is the
    rule of three.
    """
    if distance < 1e-9:
        return None
    unseen = -math.log(TAIL) - 1  # what its weight may be above the mean
    by_rule_of_three = math.log(TAIL) / math.log1p(-min(distance, 0.999))

    def reach(pictures: float) -> float:
        spread = deviation / math.sqrt(pictures)
        return float(ndtri(POWER)) * spread + math.hypot(ndtri(1 - TAIL) * spread, unseen / pictures) + 1 / pictures

    most = ((unseen + 2 + 4 * deviation) / min(distance, 1)) ** 2  # of which no bound reaches so far
    by_power = brentq(lambda pictures: reach(pictures) - distance, 1e-3, most) if deviation else 0
    return max(math.ceil(max(by_power, by_rule_of_three)), seen + 1)


def budget_breaches(variants: Metrics, accept: Accept, *, trained: bool) -> list[str]:
    """A sentence for every budget that a variant breaks, or that the pictures are too few to tell of: a gate that lets
    through what it can't see would let through everything, with few pictures."""
    verdicts = {name: judge(own, accept, trained=trained) for name, own in variants.items()}
    return [
        f"{name} is {what}, as {sentence}"
        for name, verdict in verdicts.items()
        for what, sentences in (("refused", verdict.refused), ("undecided", verdict.undecided))
        for sentence in sentences
    ]


def contenders(metrics: Metrics, accept: Accept, *, trained: bool) -> list[str]:
    """The variants that keep all budgets and could be the fastest, by speed-up, three at most; none where their
    speed-ups leave nothing to settle. Of untrained weights, which keep no captions, budgets of captions don't count."""
    judged = _judge_all(metrics, accept, trained=trained)
    passing = [name for name in metrics if name in judged.passing or (not trained and name in judged.undecided)]
    by_speed = sorted(passing, key=lambda name: -float(metrics[name]["benchmark"]["speedup"]))
    noise = _noise(metrics[BASELINE.name])
    close = [name for name in by_speed if _as_fast(metrics[name], metrics[by_speed[0]], noise)]
    return close[:MOST_CONTENDERS] if len(close) > 1 else []


class Judged(NamedTuple):
    """Every variant, by what became of it."""

    passing: list[str]
    refused: dict[str, list[str]]
    undecided: dict[str, list[str]]
    pictures_needed: dict[str, int | None]


def _judge_all(metrics: Metrics, accept: Accept, *, trained: bool) -> Judged:
    judged = Judged([], {}, {}, {})
    baseline = metrics[BASELINE.name]
    noise = _noise(baseline)
    for name, own in metrics.items():
        if name == BASELINE.name:
            continue
        verdict = judge(own, accept, trained=trained)
        slow = [] if _beats(own, baseline, noise) else [f"it is no better than the baseline: {_speed(own)}"]
        if verdict.refused or slow:
            judged.refused[name] = [*verdict.refused, *slow]
        elif verdict.undecided:
            judged.undecided[name], judged.pictures_needed[name] = verdict.undecided, verdict.pictures_needed
        else:
            judged.passing.append(name)
    return judged


def recommend(
    metrics: Metrics, accept: Accept, final: Final, model: str, dataset: Dataset, *, trained: bool
) -> Recommendation:
    """The recommendation from every checkpoint's figures and the final, of the model of this name in params.yaml and
    its dataset.

    Of the variants that keep all budgets and beat the baseline, the fastest is recommended or, of those as fast within
    noise, the smallest on disk. `tied` are these others. A variant that doesn't beat the baseline is refused, too.
    Raises InputError if the final was between others than could be the fastest by these figures.
    """
    if final.contenders() and set(final.contenders()) != set(contenders(metrics, accept, trained=trained)):
        raise InputError(
            f"reports/final.json is between {', '.join(final.contenders())}, which are not those that could be the "
            "fastest by these figures and budgets: run `dvc repro`"
        )
    judged, noise = _judge_all(metrics, accept, trained=trained), _noise(metrics[BASELINE.name])
    chosen, tied = _choose({name: metrics[name] for name in judged.passing}, final)
    faster = [name for name in judged.undecided if not chosen or not _as_fast(metrics[chosen], metrics[name], noise)]
    open_question = max(faster, key=lambda name: float(metrics[name]["benchmark"]["speedup"]), default=None)
    pictures = judged.pictures_needed[open_question] if open_question else None
    if chosen:
        sentence = _recommending(chosen, metrics[chosen], tied, final)
        if open_question:
            sentence += f" {open_question} is faster, but {_too_few(metrics, judged, open_question)}."
    elif open_question and not trained:
        fastest = final.fastest or open_question
        sentence = f"No checkpoint can be recommended, as {UNTRAINED}; by time alone, {fastest} is the fastest: "
        sentence += f"{_speed(metrics[fastest])}{_ahead(fastest, final)}."
    elif open_question:
        sentence = f"No checkpoint can be recommended yet: {_too_few(metrics, judged, open_question)}."
        sentence += f" {more_pictures(model, dataset, pictures)}" if pictures else ""
    else:
        sentence = "Ship the baseline: no variant keeps every budget of accept in params.yaml and beats it."
    next_fastest = next(iter(final.leads), None) if chosen == final.fastest else None
    return Recommendation(
        checkpoint=chosen,
        sentence=sentence,
        tied=tied,
        refused=judged.refused,
        undecided=judged.undecided,
        pictures_needed=pictures,
        next_fastest=next_fastest,
        lead=final.leads[next_fastest] if next_fastest else None,
    )


def _noise(baseline: Figures) -> float:
    """How many times as fast as itself the baseline may seem: the farther end of its interval."""
    times = baseline["benchmark"]
    return max(float(times["speedup_ci_high"]), 1 / max(float(times["speedup_ci_low"]), 1e-3), 1.0)


def _beats(own: Figures, baseline: Figures, noise: float) -> bool:
    """Whether a variant is faster than the baseline beyond noise or, if noise hides which is, smaller."""
    times = own["benchmark"]
    if times["speedup_ci_low"] > 1 and times["speedup"] > noise:
        return True
    return bool(times["speedup"] >= 1 and times["checkpoint_mb"] < baseline["benchmark"]["checkpoint_mb"])


def _as_fast(own: Figures, other: Figures, noise: float) -> bool:
    """Whether a variant is as fast as another, or faster, or slower by no more than noise explains."""
    mine, theirs = own["benchmark"], other["benchmark"]
    return bool(mine["speedup_ci_high"] >= theirs["speedup_ci_low"] or theirs["speedup"] <= mine["speedup"] * noise)


def _choose(passing: Metrics, final: Final) -> tuple[str | None, list[str]]:
    """The smallest of those that are as fast as the fastest, and the others of them."""
    times = {name: own["benchmark"] for name, own in passing.items()}
    fastest = final.fastest if final.fastest in times else None
    fastest = fastest or max(times, key=lambda name: float(times[name]["speedup"]), default=None)
    if fastest is None:
        return None, []
    as_fast = [fastest, *(name for name, lead in final.leads.items() if not lead.settled())]
    chosen = min(as_fast, key=lambda name: (times[name]["checkpoint_mb"], -times[name]["speedup"], name))
    return chosen, [name for name in as_fast if name != chosen]


def _speed(own: Figures) -> str:
    times = own["benchmark"]
    low, high = times["speedup_ci_low"], times["speedup_ci_high"]
    return f"{times['speedup']:.2f} times as fast as the baseline ({low:.2f} to {high:.2f})"


def _ahead(name: str, final: Final) -> str:
    """By how much the fastest of the final is faster than the next, if that is settled."""
    if name != final.fastest or not all(lead.settled() for lead in final.leads.values()):
        return ""
    second, lead = next(iter(final.leads.items()))
    low, high = lead.times_as_fast_ci_low, lead.times_as_fast_ci_high
    return f" and {lead.times_as_fast:.2f} times as fast as {second} ({low:.2f} to {high:.2f})"


def _recommending(chosen: str, own: Figures, tied: list[str], final: Final) -> str:
    quality = own["quality"]
    if "cider_change_share" in quality:
        captions = f"CIDEr changes by {_interval(quality, 'cider_change_share', CHANGE)}"
    else:
        captions = f"captions stay the same for {_interval(quality, 'same_caption', SHARE)} of the pictures"
    others = ""
    if tied:
        others = f" Within noise, {' and '.join(tied)} {'is' if len(tied) == 1 else 'are'} as fast, but not smaller."
    speed = f"{_speed(own)}{_ahead(chosen, final)}"
    return f"Ship {chosen}: {speed}, {captions}, {own['benchmark']['checkpoint_mb']:.1f} MB on disk.{others}"


def _too_few(metrics: Metrics, judged: Judged, name: str) -> str:
    """Why nothing can be said of the captions of a variant."""
    pictures = judged.pictures_needed[name]
    if pictures is None:
        return f"of {name}, {judged.undecided[name][0]}"
    seen = metrics[name]["quality"]["images"]
    return f"{seen} pictures are too few to tell whether {name} keeps its captions, about {pictures} would do"


def more_pictures(model: str, dataset: Dataset, pictures: int) -> str:
    """What to write into params.yaml to have so many pictures."""
    if not isinstance(dataset, Photographs):
        return f"Set models.{model}.dataset.evaluation in params.yaml to that, if there are so many."
    counts = f"evaluation: {pictures}, calibration: 64"
    coco = "kind: coco, images: data/local/coco/val2014, annotations: data/local/coco/dataset_coco.json"
    own = "kind: folder, images: data/local/photos"
    return (
        f"There are no more such photographs, so give {model} in params.yaml COCO's, with Karpathy's split, by "
        f"dataset: {{{coco}, {counts}}} or your own by dataset: {{{own}, {counts}}}"
    )
