"""How often the 95 % intervals hold the truth: `python -m tests.timing.coverage` prints tables of reports/README.md.

The machine and the captions are drawn, so the truth is known; the stopping rule and the intervals are the stages' own.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from stages.benchmark import enough
from stages.scoring.statistics import estimate_change, estimate_mean
from stages.setup.params import Benchmark, Model
from stages.timing.statistics import BETWEEN_RUNS, estimate_over_sessions, estimate_speedup, typical

WITHIN = 0.05
SETTINGS = Benchmark(threads=1, images=1, sessions=3, rounds=1, seconds=0, new_tokens=2, throughput_batch=2)
MODEL = Model.model_validate(
    {
        "source": {"folder": "data/demo"},
        "dataset": {"kind": "scenes", "evaluation": 2, "calibration": 1},
        "speedup_within": WITHIN,
        "benchmark_seconds": 60,
    }
)
PAIRS = 11
DRAWS = 10_000


class Noise(NamedTuple):
    """What a machine does to a speed-up; standard deviations of its logarithm, but `luck`'s, are of drawn machines."""

    truth: float = 3.0
    luck: float = 0.03  # what a session's fresh processes share
    tails: float = np.inf  # degrees of freedom of that: 3 has an outlier now and then
    kept: float = 0.0  # how much of one session's luck the next one has: neighbours come and go slowly
    between: float = BETWEEN_RUNS  # what a whole run shares, as a share of the truth's logarithm
    most: int = 5  # sessions until the time is over


def draw_sessions(noise: Noise, runs: int, dice: np.random.Generator) -> np.ndarray:
    """The speed-ups of sessions, float64 (runs, most), by pairs as `benchmark` takes them: both halves drift alike, as
    a random walk that goes on from session to session; each half has noise of its own, with slow moments."""
    shape = (runs, noise.most, PAIRS)
    drift = np.cumsum(dice.normal(0, 0.1, (runs, noise.most * PAIRS)), axis=-1).reshape(shape)
    moments = dice.normal(0, 0.04, (2, *shape)) + np.where(dice.random((2, *shape)) < 0.05, 0.7, 0)
    luck = dice.standard_t(noise.tails, shape[:2]) if np.isfinite(noise.tails) else dice.normal(size=shape[:2])
    if np.isfinite(noise.tails):
        luck /= np.sqrt(noise.tails / (noise.tails - 2))
    for session in range(1, noise.most):
        luck[:, session] = noise.kept * luck[:, session - 1] + np.sqrt(1 - noise.kept**2) * luck[:, session]
    run = dice.normal(0, noise.between * abs(np.log(noise.truth)), (runs, 1))
    own = np.log(noise.truth) + (noise.luck * luck + run)[..., None]
    baseline, checkpoint = np.exp(own + moments[0] + drift), np.exp(moments[1] + drift)
    figures: np.ndarray = np.apply_along_axis(typical, -1, baseline / checkpoint)
    return figures


class Coverage(NamedTuple):
    """Shares of runs, and the median half-width of their intervals."""

    holds: float  # the truth, by the interval that is reported
    alone: float  # the same by the interval over sessions alone
    overlap: float  # of the intervals of two runs
    width: float


def ratio_coverage(noise: Noise, runs: int) -> Coverage:
    """Draws runs of a benchmark, of two sessions or more, that end when `enough` says so."""
    taken = []
    for sessions in draw_sessions(noise, runs, np.random.default_rng(0)):
        count = 2
        while count < noise.most and not enough(sessions[:count], SETTINGS, MODEL, seconds=0):
            count += 1
        taken.append(sessions[:count])
    estimates, alone = [estimate_speedup(own) for own in taken], [estimate_over_sessions(own) for own in taken]
    holds, holds_alone = (
        np.mean([each.low <= noise.truth <= each.high for each in some]) for some in (estimates, alone)
    )
    overlap = np.mean([one.low <= other.high and other.low <= one.high for one, other in pairwise(estimates)])
    return Coverage(holds, holds_alone, overlap, float(np.median([each.width() for each in estimates])))


# What a caption that differs does to CIDEr, on its library's scale, where captions have 5.8 each, as a demo without
# mistakes had: nothing much, what its differing captions did, nearly all that it had; or mostly nothing much, now and
# then all.
CAPTION = 5.8


def draw_changes(
    kind: str, shape: tuple[int, int], share: float, dice: np.random.Generator
) -> tuple[np.ndarray, float]:
    """CIDEr's changes by picture, float64 (samples, pictures), of which so many in 1 differ, and their true mean."""
    small, usual, lost = (dice.normal(mean, sd, shape) for mean, sd in ((0, 0.5), (-0.5, 2.2), (-0.9 * CAPTION, 0.4)))
    changes = {"small": small, "usual": usual, "lost": lost}
    changes["seldom lost"] = np.where(dice.random(shape) < 0.1, lost, small)
    mean = {"small": 0, "usual": -0.5, "lost": -0.9 * CAPTION, "seldom lost": -0.09 * CAPTION}[kind]
    return np.where(dice.random(shape) < share, changes[kind], 0), share * mean


def change_coverage(kind: str, pictures: int, share: float, samples: int) -> tuple[float, float]:
    """The share of samples whose interval holds the true change, and the median half-width."""
    dice = np.random.default_rng(0)
    changes, truth = draw_changes(kind, (samples, pictures), share, dice)
    before = np.full(pictures, CAPTION)
    estimates = [estimate_change(before + own, before) for own in changes]
    hits = sum(estimate.low <= truth <= estimate.high for estimate in estimates)
    return hits / samples, float(np.median([(estimate.high - estimate.low) / 2 for estimate in estimates]))


def bootstrap_coverage(kind: str, pictures: int, share: float, samples: int) -> float:
    """The share of samples whose percentile bootstrap holds the true change: what was reported before."""
    changes, truth = draw_changes(kind, (samples, pictures), share, np.random.default_rng(0))
    estimates = [estimate_mean(own, 500) for own in changes]
    return sum(estimate.low <= truth <= estimate.high for estimate in estimates) / samples


RATIOS = {
    "sessions alike (0.5 %), 3 times as fast": Noise(luck=0.005),
    "sessions apart by 3 %": Noise(),
    "by 10 %": Noise(luck=0.1),
    "two sessions at most": Noise(most=2),
    "three": Noise(most=3),
    "ten, apart by 10 %": Noise(luck=0.1, most=10),
    "outliers among sessions (t of 3 degrees)": Noise(tails=3),
    "half of a session's luck is the last one's": Noise(kept=0.5),
    "7 times as fast": Noise(truth=7.0),
    "the baseline against itself": Noise(truth=1.0),
    "the same, outliers": Noise(truth=1.0, tails=3),
    "the same, half of the luck is the last one's": Noise(truth=1.0, kept=0.5),
    "3 times as fast, a machine that is the same at every hour": Noise(between=0),
}


def print_ratios() -> None:
    print("| speed-up | holds the truth | sessions alone would | two runs overlap | half-width |")
    print("|---|---|---|---|---|")
    for name, noise in RATIOS.items():
        own = ratio_coverage(noise, DRAWS)
        print(f"| {name} | {own.holds:.1%} | {own.alone:.1%} | {own.overlap:.1%} | ±{own.width:.0%} |", flush=True)


def print_changes() -> None:
    shares = (0.01, 0.05, 0.2, 1)
    print(
        "| CIDEr change | pictures | a bootstrap, 1 % | 1 % differ | 5 % | 20 % | all |\n|---|---|---|---|---|---|---|"
    )
    for kind in ("small", "usual", "seldom lost", "lost"):
        for pictures in (10, 50, 200):
            cells = [change_coverage(kind, pictures, share, DRAWS) for share in shares]
            bootstrap = bootstrap_coverage(kind, pictures, shares[0], DRAWS // 25)
            row = [f"{bootstrap:.0%}", *(f"{hits:.1%}, ±{width:.2f}" for hits, width in cells)]
            print(f"| {kind} | {pictures} | {' | '.join(row)} |", flush=True)


def main() -> None:
    print_ratios()
    print()
    print_changes()


if __name__ == "__main__":
    main()
