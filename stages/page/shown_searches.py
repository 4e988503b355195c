"""What the page for a browser says of searches."""

from typing import Any, NamedTuple

from markupsafe import Markup

from stages.page.searches import Found, Study, compared_figures, found_variants
from stages.page.trade_offs import TradeOffs, beaten_by, estimated, trade_offs
from stages.page.web_charts import Bar, Point, draw_bars, draw_front, draw_speed, slug
from stages.page.words import Words, words_of
from stages.records.metrics import Metrics
from stages.setup.params import Recipe

QUALITIES = {"cider_change_share": "change of CIDEr", "same_caption": "share of the baseline's captions"}
IMPORTANCE = {"time": "What decides how fast a recipe is", "loss": "What decides what captions lose"}
FASTEST = 12  # in the chart of a search for time alone
TABLE = ("counted", "first_kl", "lead", "speedup", "kl", "cider_change_share", "same_caption", "checkpoint_mb")


class ShownSearch(NamedTuple):
    """A file of `reports/search/`, as the page shows it."""

    file: str
    whose: str
    strange: str  # whose it is, if it is not of the page's own run; else nothing
    words: str
    compared: list[str]  # figures of what was found, on both kinds of pictures
    found: list[Found]
    keys: list[str]  # of the figures in the table of candidates
    candidates: list[dict[str, Any]]
    front: Markup | None  # none where nothing was timed to the end
    importance: list[tuple[str, Markup]]


def show_search(
    file: str, own: Study, strange: str, metrics: Metrics, variants: dict[str, Recipe], *, trained: bool
) -> ShownSearch:
    """What the page says of a search; of one of another run, without this run's checkpoints beside it."""
    name, here = slug(file), {} if strange else metrics
    found, timed = found_variants(own, here, variants), [one.model_dump() for one in own.of_state("timed")]
    points = candidate_points(timed)
    front = _front(f"{name}-front", timed, points, here if trained else {}) if timed else None
    rows = []
    for candidate in own.candidates:
        beaten = beaten_by(candidate.checkpoint, points) if candidate.checkpoint in points else []
        why = candidate.why or (f"beaten by {', '.join(beaten[:3])}" if beaten else "")
        variant = next((one.variant for one in found if one.candidate == candidate), "")
        rows.append(candidate.model_dump() | {"said": why, "variant": variant})
    keys = [key for key in TABLE if any(key in row for row in rows)]
    importance = [
        (label, draw_bars(f"{name}-{kind}", label, _shares(own.importance[kind]), Words("importance", "%", 0)))
        for kind, label in IMPORTANCE.items()
        if kind in own.importance
    ]
    return ShownSearch(
        file, own.whose(), strange, own.in_words(), compared_figures(found), found, keys, rows, front, importance
    )


def candidate_points(timed: list[dict[str, Any]]) -> TradeOffs:
    """Speed-up and quality of each candidate that has both, by name."""
    key = _quality(timed)
    return {row["checkpoint"]: (estimated(row, "speedup"), estimated(row, key)) for row in timed if key and key in row}


def _quality(timed: list[dict[str, Any]]) -> str:
    """What captions are judged by; nothing where these mean nothing."""
    return next((key for key in QUALITIES if any(key in row for row in timed)), "")


def _front(name: str, timed: list[dict[str, Any]], points: TradeOffs, metrics: Metrics) -> Markup:
    if not points:
        fastest = sorted(timed, key=lambda row: -float(row["speedup"]))[:FASTEST]
        bars = [Bar.of(row["checkpoint"], row, "speedup") for row in fastest]
        control = Bar("baseline", 1.0, 1.0, 1.0)
        return draw_speed(name, "Speed-up of the fastest candidates", bars, control, words_of("speedup"))
    key = _quality(timed)
    known = {one: own for one, own in metrics.items() if key in own["quality"]}
    return draw_front(name, as_points(points), as_points(trade_offs(known)), words_of(key), QUALITIES[key])


def as_points(found: TradeOffs) -> list[Point]:
    """To be drawn, those that no other beats as such."""
    return [Point(name, *own, not beaten_by(name, found)) for name, own in found.items()]


def _shares(importance: dict[str, float]) -> list[Bar]:
    return [Bar(knob, share) for knob, share in sorted(importance.items(), key=lambda one: -one[1])]


def beaten_in_words(points: TradeOffs) -> str:
    """Who is beaten by whom, in a sentence; nothing if nobody is."""
    beaten = {name: by for name in points if (by := beaten_by(name, points))}
    return "; ".join(f"{name} is beaten by {', '.join(by)}" for name, by in beaten.items())
