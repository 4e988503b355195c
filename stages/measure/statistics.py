"""Confidence intervals: of scores by SciPy's bootstrap (B. Efron, R. Tibshirani: An Introduction to the Bootstrap,
1993), of times by Student's t over sessions; and lines through times."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit
from scipy.stats import bootstrap, theilslopes, trim_mean

SEED = 0
# Sessions end once their interval is narrow, which is likeliest when it is so by chance: then fewer such intervals hold
# the truth than their level says. With this level, 93 to 97 in 100 do; tests/measure/test_statistics.py draws them.
SESSION_LEVEL = 0.965


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


def estimate_over_sessions(figures: Sequence[float]) -> Estimate:
    """The geometric mean of a positive figure that two or more sessions gave, one value per session.

    What was timed within a session shares the luck of its processes, so sessions are what is counted. The interval is
    Student's t on the logarithms; it contains the figure, and is positive like it.
    Source: T. Kalibera, R. Jones: Rigorous Benchmarking in Reasonable Time, ISMM 2013.
    """
    logarithms = np.log(figures)
    sessions, middle = len(logarithms), logarithms.mean()
    reach = stdtrit(sessions - 1, (1 + SESSION_LEVEL) / 2) * logarithms.std(ddof=1) / sessions**0.5
    return Estimate(*(float(np.exp(middle + side * reach)) for side in (0, -1, 1)))


def estimate_mean(samples: Sequence[float] | np.ndarray, resamples: int) -> Estimate:
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


def fit_slope(tokens: Sequence[int], seconds: Sequence[float]) -> float:
    """Seconds for each further token: the slope of a robust line through what captions of so many tokens took.

    NaN where noise hides it, that is, where its 95 % interval reaches zero.
    Source: P. K. Sen: Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 1968.
    """
    if len(set(tokens)) < 2:
        return math.nan
    slope, _, low, _ = theilslopes(seconds, tokens)
    return float(slope) if low > 0 else math.nan
