"""Who is faster without being worse, or better without being slower, as far as intervals tell."""

from typing import Any

from stages.records.metrics import Metrics

Estimated = tuple[float, float, float]  # value, and the interval's bounds
TradeOffs = dict[str, tuple[Estimated, Estimated]]  # speed-up and quality, by name


def quality_of(metrics: Metrics) -> tuple[str, float, str]:
    """What quality is judged by: its key, the baseline's value of it, and words for an axis."""
    if any("cider_change_share" in own["quality"] for own in metrics.values()):
        return "cider_change_share", 0.0, "change of CIDEr"
    return "same_caption", 1.0, "share of the baseline's captions"


def trade_offs(metrics: Metrics) -> TradeOffs:
    """Each checkpoint's speed-up and quality, (value, low, high) each; the baseline's quality is what it is."""
    key, own, _ = quality_of(metrics)
    return {
        name: (estimated(figures["benchmark"], "speedup"), estimated({key: own, **figures["quality"]}, key))
        for name, figures in metrics.items()
    }


def estimated(figures: dict[str, Any], key: str) -> Estimated:
    """A figure and its interval's bounds; of one without an interval, the figure itself."""
    value = figures[key]
    return value, figures.get(f"{key}_ci_low", value), figures.get(f"{key}_ci_high", value)


def pareto_optimal(points: TradeOffs) -> list[str]:
    """Those that no other beats: by intervals, none is faster without being worse, or better without being slower."""
    return [name for name in points if not beaten_by(name, points)]


def beaten_by(name: str, points: TradeOffs) -> list[str]:
    """The others that are surely faster and not surely worse, or surely better and not surely slower."""

    def beats(one: str, other: str) -> bool:
        surely = [mine[1] > theirs[2] for mine, theirs in zip(points[one], points[other], strict=True)]
        surely_not = [mine[2] < theirs[1] for mine, theirs in zip(points[one], points[other], strict=True)]
        return any(surely) and not any(surely_not)

    return [other for other in points if other != name and beats(other, name)]
