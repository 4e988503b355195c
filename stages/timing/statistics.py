"""Confidence intervals of times, by Student's t over sessions, and lines through times.

How often they hold the truth, `python -m tests.timing.coverage` draws.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from scipy.stats import theilslopes, trim_mean

from stages.records.estimate import Estimate

if TYPE_CHECKING:  # whoever has samples has imported it
    import pandas as pd

# Sessions end once their interval is narrow, which is likeliest when it is so by chance: then fewer such intervals hold
# the truth than their level says. With this level, 93 to 97 in 100 do; tests/timing/test_statistics.py draws them.
SESSION_LEVEL = 0.965
# Sessions of one run share the neighbours that a machine has in that half minute, and these slow one program down more
# than another. So the logarithm of a speed-up is off, in a whole run, by this share of itself (standard deviation): it
# is what the runs kept in Git (33 of the engines' checkpoints on three machines, six at full size) are apart by, less
# what sessions are. A program against itself has no such share, and shows none.
BETWEEN_RUNS = 0.05
# The same of two optimized checkpoints in a final, in the logarithm itself, as leads are small: what kept runs on a Zen
# 5, minutes to hours apart, are apart by, less what sessions are (tests/timing/between_finals.py).
BETWEEN_FINALS = 0.037
# What intervals of speed-ups are made by, for figures that are kept: change it with `estimate_speedup`.
SPEEDUP_RULE = f"t over sessions at {SESSION_LEVEL:g}, and {BETWEEN_RUNS:g} of the logarithm for what a run's share"


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
