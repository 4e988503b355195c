"""Confidence intervals by SciPy's bootstrap (B. Efron, R. Tibshirani: An Introduction to the Bootstrap, 1993)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

SEED = 0


class Estimate(NamedTuple):
    """A figure and the bounds of its 95 % confidence interval, in the figure's own unit."""

    value: float
    low: float
    high: float

    def entries(self, name: str, digits: int) -> dict[str, float]:
        """The three numbers as metrics: `name`, `name_ci_low`, `name_ci_high`, rounded."""
        rounded = [round(float(number), digits) for number in self]
        return dict(zip((name, f"{name}_ci_low", f"{name}_ci_high"), rounded, strict=True))


def estimate_median(samples: Sequence[float], sessions: Sequence[int], resamples: int) -> Estimate:
    """The median of samples that were taken in sessions, one session number per sample.

    Samples of one session resemble each other, so each resample draws sessions first and samples within them second.
    Source: T. Kalibera, R. Jones: Rigorous Benchmarking in Reasonable Time, ISMM 2013.
    """
    values, labels = np.asarray(samples), np.asarray(sessions)
    groups = [values[labels == label] for label in np.unique(labels)]
    dice = np.random.default_rng(SEED)
    medians = [
        np.median(np.concatenate([dice.choice(groups[drawn], len(groups[drawn])) for drawn in chosen]))
        for chosen in dice.integers(len(groups), size=(resamples, len(groups)))
    ]
    low, high = np.percentile(medians, (2.5, 97.5))
    return Estimate(float(np.median(values)), float(low), float(high))


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
