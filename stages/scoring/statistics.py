"""Confidence intervals of scores: by SciPy's bootstrap (B. Efron, R. Tibshirani: An Introduction to the Bootstrap,
1993), of changes that are rare with two pictures more.

How often they hold the truth, `python -m tests.timing.coverage` draws.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from scipy.stats import bootstrap

from stages.records.estimate import Estimate

SEED = 0


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
