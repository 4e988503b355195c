"""Confidence intervals: of scores by SciPy's bootstrap (B. Efron, R. Tibshirani: An Introduction to the Bootstrap,
1993), of changes that are rare with two pictures more, of times by Student's t over sessions; and lines through times.

How often they hold the truth, `python -m tests.measure.coverage` draws.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from scipy.stats import bootstrap, theilslopes, trim_mean

if TYPE_CHECKING:  # whoever has samples has imported it
    import pandas as pd

SEED = 0
# Sessions end once their interval is narrow, which is likeliest when it is so by chance: then fewer such intervals hold
# the truth than their level says. With this level, 93 to 97 in 100 do; tests/measure/test_statistics.py draws them.
SESSION_LEVEL = 0.965
# Sessions of one run share the neighbours that a machine has in that half minute, and these slow one program down more
# than another. So the logarithm of a speed-up is off, in a whole run, by this share of itself (standard deviation): it
# is what the runs kept in Git (33 of the engines' checkpoints on three machines, six at full size) are apart by, less
# what sessions are. A program against itself has no such share, and shows none.
BETWEEN_RUNS = 0.05
BETWEEN_FINALS = 0.0
# What intervals of speed-ups are made by, for figures that are kept: change it with `estimate_speedup`.
SPEEDUP_RULE = f"t over sessions at {SESSION_LEVEL:g}, and {BETWEEN_RUNS:g} of the logarithm for what a run's share"


class Estimate(NamedTuple):
    """A figure and the bounds of its 95 % confidence interval, in the figure's own unit."""

    value: float
    low: float
    high: float

    def width(self) -> float:
        """The interval's half-width as a share of the figure: 0.1 is 10 percent up."""
        return self.high / self.value - 1

    def entries(self, name: str, digits: int) -> dict[str, float]:
        """The three numbers as metrics: `name`, `name_ci_low`, `name_ci_high`, rounded."""
        rounded = [round(float(number), digits) for number in self]
        return dict(zip((name, f"{name}_ci_low", f"{name}_ci_high"), rounded, strict=True))


def estimate_over_sessions(figures: ArrayLike, shared: float = 0.0) -> Estimate:
    """The geometric mean of a positive figure that two or more sessions gave, one value per session.

    What was timed within a session shares the luck of its processes, so sessions are what is counted. The interval is
    Student's t on the logarithms; it contains the figure, and is positive like it. `shared` is the standard deviation
    of what all sessions of a run share, on the logarithms too: no number of sessions tells it, and with it the interval
    is for any run, and without it for this one.
    Sources: T. Kalibera, R. Jones: Rigorous Benchmarking in Reasonable Time, ISMM 2013; for t where one variance is
    known and the other estimated, F. Satterthwaite: An Approximate Distribution of Estimates of Variance Components,
    Biometrics Bulletin, 1946.
    """
    logarithms = np.log(figures)
    sessions, middle = len(logarithms), logarithms.mean()
    own = max(logarithms.var(ddof=1) / sessions, 1e-30)  # never 0, by which the next line divides
    freedom = (sessions - 1) * (1 + shared**2 / own) ** 2
    reach = stdtrit(freedom, (1 + SESSION_LEVEL) / 2) * (own + shared**2) ** 0.5
    return Estimate(*(float(np.exp(middle + side * reach)) for side in (0, -1, 1)))


def estimate_speedup(figures: ArrayLike) -> Estimate:
    """The same of a speed-up, with what a run's sessions share: for this machine at any hour."""
    return estimate_over_sessions(figures, between_runs(estimate_over_sessions(figures).value))


def between_runs(speedup: float) -> float:
    """By how much a whole run is off, as a standard deviation of the speed-up's logarithm; see BETWEEN_RUNS."""
    return BETWEEN_RUNS * abs(math.log(speedup))


def estimate_lead(figures: ArrayLike) -> Estimate:
    """The same of how many times as fast one optimized checkpoint is as another, timed in turns."""
    return estimate_over_sessions(figures, BETWEEN_FINALS)


def estimate_change(scores: ArrayLike, before: ArrayLike) -> Estimate:
    """The mean change of scores from 0 up, paired by picture, of which most may not change at all.

    The two pictures more lose and gain a whole caption's score: what a rare mistake costs, if the sample has none.
    """
    after, earlier = np.asarray(scores, dtype=np.float64), np.asarray(before, dtype=np.float64)
    whole = max(after.mean(), earlier.mean())
    return estimate_between(after - earlier, -whole, whole)


def estimate_between(samples: ArrayLike, least: float, most: float) -> Estimate:
    """The mean of at least one sample, which lies between two values; most samples may be the same.

    The interval is Student's t with two samples more, the least and the most. Where differences are rare, a sample may
    have none, and a bootstrap of it, or t alone, would be sure that there are none at all. The two have little weight
    among many differences.
    Source: D. Bonett, R. Price: Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
    Paired Data, Journal of Educational and Behavioral Statistics, 2012; here for samples of any size.
    """
    values = np.asarray(samples, dtype=np.float64)
    more = np.append(values, [least, most])
    middle, reach = more.mean(), stdtrit(len(more) - 1, 0.975) * more.std(ddof=1) / len(more) ** 0.5
    return Estimate(float(values.mean()), *(float(np.clip(middle + side * reach, least, most)) for side in (-1, 1)))


def estimate_mean(samples: ArrayLike, resamples: int) -> Estimate:
    """The mean of at least two samples."""
    values = np.asarray(samples)
    result = bootstrap(
        (values,), np.mean, n_resamples=resamples, batch=256, method="percentile", rng=np.random.default_rng(SEED)
    )
    return Estimate(float(values.mean()), *result.confidence_interval)


def estimate_over_images(images: int, statistic: Callable[[np.ndarray], np.ndarray], resamples: int) -> Estimate:
    """A figure of a whole set of images that is no mean of its parts, such as BLEU.

    `statistic` takes the indices of the images that resamples consist of, int64 (..., images), and returns (...).
    """
    indices = np.arange(images)
    result = bootstrap(
        (indices,),
        lambda samples, axis: statistic(samples.astype(np.int64)),
        n_resamples=resamples,
        batch=256,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    return Estimate(float(statistic(indices)), *result.confidence_interval)


def typical(samples: Sequence[float]) -> float:
    """The geometric mean of positive samples without the fifth at either end: less noisy than their median, and as
    little moved by a slow moment."""
    return float(np.exp(trim_mean(np.log(samples), 0.2)))


def sessions_of(samples: "pd.DataFrame", measurement: str) -> "pd.DataFrame":
    """Of a benchmark's pairs, one row per session with what is typical: baseline, checkpoint and, of the pairs' ratios,
    speedup."""
    rows = samples[samples["measurement"] == measurement]
    rows = rows.assign(speedup=rows["baseline"] / rows["checkpoint"])
    return rows.groupby("session")[["baseline", "checkpoint", "speedup"]].agg(typical)


def fit_slope(tokens: Sequence[int], seconds: Sequence[float]) -> float:
    """Seconds for each further token: the slope of a robust line through what captions of so many tokens took.

    NaN where noise hides it, that is, where its 95 % interval reaches zero.
    Source: P. K. Sen: Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 1968.
    """
    if len(set(tokens)) < 2:
        return math.nan
    slope, _, low, _ = theilslopes(seconds, tokens)
    return float(slope) if low > 0 else math.nan
