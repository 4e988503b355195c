"""95 % intervals for deciding whether captions are kept. They hold for few pictures, too, and for many without a
difference, where a bootstrap finds no spread and takes everything for certain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from stages.records.estimate import Estimate
from stages.scoring.statistics import SEED

LEVEL = 0.95
DRAWS, DRAWN_AT_ONCE = 10_000, 100


class RelativeChange(NamedTuple):
    """The change of a mean score as a share of the baseline's mean, and the standard deviation that one picture adds:
    of n pictures, the standard error is that over the root of n."""

    estimate: Estimate
    deviation: float


def estimate_share(flags: Sequence[float] | np.ndarray) -> Estimate:
    """The share of ones among zeros and ones, by the exact interval.

    Source: C. J. Clopper, E. S. Pearson: The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial, Biometrika 1934.
    """
    ones, count = int(np.sum(flags)), len(flags)
    low, high = binomtest(ones, count).proportion_ci(LEVEL, method="exact")
    return Estimate(ones / count, float(low), float(high))


def estimate_relative_change(scores: np.ndarray, baseline_scores: np.ndarray) -> RelativeChange:
    """How the mean of scores changes, as a share of the baseline's mean; both (pictures,), of the same pictures, and
    not negative.

    Raises ValueError if the baseline's mean is 0, of which there are no shares.

    The pictures are weighted at random again and again, both scores of a picture alike, and with one picture more that
    nobody has seen: an average one, whose score is all lost for the lower bound, and doubled for the upper. Where
    scores are lost whole or not at all, that is the exact interval of their share.
    Source: E. Learned-Miller, P. S. Thomas: A New Confidence Interval for the Mean of a Bounded Random Variable, 2019,
    after N. Gaffke, 2005.
    """
    change, mean = scores - baseline_scores, float(baseline_scores.mean())
    if mean <= 0:
        raise ValueError("the baseline scores nothing")
    value = float(change.mean() / mean)
    dice = np.random.default_rng(SEED)
    lost, gained = [], []
    for _ in range(DRAWS // DRAWN_AT_ONCE):
        weights = dice.standard_exponential((DRAWN_AT_ONCE, len(change) + 1))
        seen, unseen = weights[:, :-1], weights[:, -1] * mean
        changes, totals = seen @ change, seen @ baseline_scores + unseen
        lost.append((changes - unseen) / totals)
        gained.append((changes + unseen) / totals)
    low, high = np.quantile(lost, (1 - LEVEL) / 2), np.quantile(gained, (1 + LEVEL) / 2)
    deviation = float(np.std(change - value * baseline_scores) / mean)
    return RelativeChange(Estimate(value, min(float(low), value), max(float(high), value)), deviation)
