import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measure.statistics import (
    Estimate,
    estimate_mean,
    estimate_over_images,
    estimate_over_sessions,
    fit_slope,
    typical,
)

samples = st.lists(st.floats(0.1, 100), min_size=4, max_size=30)
positive = st.floats(1e-6, 1e6)


@given(samples)
@settings(deadline=None, max_examples=15)
def test_an_interval_of_a_mean_surrounds_it_and_stays_among_the_samples(values: list[float]) -> None:
    estimate = estimate_mean(values, 200)
    assert estimate.value == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= estimate.low <= estimate.high <= max(values) + 1e-9


@given(st.lists(positive, min_size=2, max_size=12))
def test_an_interval_over_sessions_contains_its_figure_and_is_never_negative(values: list[float]) -> None:
    estimate = estimate_over_sessions(values)
    assert min(values) * 0.999 <= estimate.value <= max(values) * 1.001
    assert 0 <= estimate.low <= estimate.value <= estimate.high
    entries = estimate.entries("figure", 3)
    assert 0 <= entries["figure_ci_low"] <= entries["figure"] <= entries["figure_ci_high"]


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=12), st.floats(0.5, 50))
def test_another_unit_scales_everything(values: list[float], factor: float) -> None:
    scaled = estimate_over_sessions([value * factor for value in values])
    assert scaled == pytest.approx(tuple(number * factor for number in estimate_over_sessions(values)))


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=12))
def test_a_ratio_turned_over_turns_its_interval_over(values: list[float]) -> None:
    value, low, high = estimate_over_sessions(values)
    turned = estimate_over_sessions([1 / each for each in values])
    assert turned == pytest.approx((1 / value, 1 / high, 1 / low))


def test_equal_sessions_leave_no_doubt() -> None:
    estimate = estimate_over_sessions([2.0] * 3)
    assert estimate == pytest.approx((2, 2, 2))
    assert estimate.width() == pytest.approx(0)
    assert Estimate(2.0, 1.8, 2.2).width() == pytest.approx(0.1)


# The spread of sessions against the width at which timing ends: from one that three sessions reach to one that none do.
@pytest.mark.parametrize("spread", [0.005, 0.03, 0.06])
@pytest.mark.parametrize("most", [3, 8])
def test_intervals_at_which_timing_ends_hold_the_truth_93_to_97_times_in_100(spread: float, most: int) -> None:
    """Sessions of one luck each, pairs with noise of their own, and a drift of the machine that hits both halves."""
    runs, pairs, truth, within = 1500, 11, 2.5, 0.05
    dice = np.random.default_rng(0)
    drift = np.cumsum(dice.normal(0, 0.1, (runs, most, pairs)), axis=-1)
    noise = dice.normal(0, 0.04, (2, runs, most, pairs))
    luck = dice.normal(0, spread / np.sqrt(2), (2, runs, most, 1))
    baseline, checkpoint = np.exp(np.log([truth, 1])[:, None, None, None] + luck + noise + drift)
    figures = np.apply_along_axis(typical, -1, baseline / checkpoint)
    hits = 0
    for run in figures:
        for sessions in range(3, most + 1):
            estimate = estimate_over_sessions(run[:sessions])
            if estimate.width() <= within:
                break
        hits += estimate.low <= truth <= estimate.high
    assert 0.93 - 0.01 <= hits / runs <= 0.97 + 0.01  # with what chance does in so few runs


@given(st.lists(positive, min_size=1, max_size=30))
def test_what_is_typical_lies_among_the_samples(values: list[float]) -> None:
    assert min(values) * 0.999 <= typical(values) <= max(values) * 1.001
    assert typical([1 / value for value in values]) == pytest.approx(1 / typical(values))


def test_slow_moments_hardly_move_what_is_typical() -> None:
    assert typical([1.0] * 8 + [50.0, 70.0]) == 1


def test_a_slope_is_that_of_the_line_whatever_one_slow_moment_does() -> None:
    tokens = [1, 7, 14, 20] * 3
    seconds = [0.01 + 0.002 * (each - 1) for each in tokens]
    assert fit_slope(tokens, seconds) == pytest.approx(0.002)
    seconds[0] += 0.5
    assert fit_slope(tokens, seconds) == pytest.approx(0.002, rel=0.1)


def test_times_of_a_noisy_machine_have_a_slope() -> None:
    seconds = [0.0117, 0.0520, 0.0929, 0.1290, 0.0149, 0.0567, 0.1193, 0.1498]  # the demo's baseline on a Zen 3
    assert fit_slope([1, 7, 14, 20] * 2, seconds) == pytest.approx(0.0066, rel=0.05)


def test_where_noise_hides_a_slope_there_is_none() -> None:
    dice = np.random.default_rng(0)
    assert np.isnan(fit_slope([1, 1, 1], [0.1, 0.2, 0.3]))
    assert np.isnan(fit_slope([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1]))  # longer captions took less
    tokens = [1, 7, 14, 20] * 2
    slopes = [fit_slope(tokens, list(dice.uniform(1, 2, len(tokens)))) for _ in range(200)]  # whatever their length
    assert np.isnan(slopes).sum() >= 190


@given(st.lists(st.tuples(st.integers(1, 20), positive), min_size=1, max_size=12))
def test_no_slope_is_negative(points: list[tuple[int, float]]) -> None:
    slope = fit_slope([tokens for tokens, _ in points], [seconds for _, seconds in points])
    assert np.isnan(slope) or slope > 0


def test_a_figure_over_images_is_resampled_by_image() -> None:
    values = np.arange(50, dtype=np.float64)
    estimate = estimate_over_images(50, lambda images: values[images].mean(axis=-1), 300)
    assert estimate.value == values.mean()
    assert estimate.low < values.mean() < estimate.high


def test_entries_are_named_and_rounded() -> None:
    entries = Estimate(1.23456, 1.11111, 1.99999).entries("speedup", 2)
    assert entries == {"speedup": 1.23, "speedup_ci_low": 1.11, "speedup_ci_high": 2.0}
