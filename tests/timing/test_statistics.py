import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from stages.records.estimate import Estimate
from stages.scoring.statistics import estimate_between, estimate_change, estimate_mean, estimate_over_images
from stages.timing.statistics import estimate_over_sessions, estimate_speedup, fit_slope, typical
from tests.timing.coverage import CAPTION, RATIOS, change_coverage, ratio_coverage

samples = st.lists(st.floats(0.1, 100), min_size=4, max_size=30)
positive = st.floats(1e-6, 1e6)


@given(samples)
@settings(max_examples=15)
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


RUNS = 1500
CHANCE = 3 * (0.05 * 0.95 / RUNS) ** 0.5  # three standard deviations of a share of so many runs that is 95 %
STEADY = "3 times as fast, a machine that is the same at every hour"
KEPT = "the same, half of the luck is the last one's"


@pytest.mark.parametrize("name", [name for name in RATIOS if name not in (STEADY, KEPT)])
def test_speedups_at_which_timing_ends_hold_the_truth_93_to_97_times_in_100(name: str) -> None:
    coverage = ratio_coverage(RATIOS[name], RUNS)
    assert 0.93 - CHANCE <= coverage.holds <= 0.97 + CHANCE
    assert coverage.overlap >= 0.97


@pytest.mark.parametrize("name", [STEADY, KEPT])
def test_where_no_interval_is_right_it_is_what_the_readme_says(name: str) -> None:
    holds = ratio_coverage(RATIOS[name], RUNS).holds
    assert holds >= 0.99 if name == STEADY else 0.87 <= holds < 0.93


def test_what_sessions_share_widens_the_interval_of_what_is_no_baseline() -> None:
    sessions = [3.0, 3.1, 2.9]
    alone, whole = estimate_over_sessions(sessions), estimate_speedup(sessions)
    assert whole.low < alone.low < alone.value == whole.value < alone.high < whole.high
    control = [1.01, 0.99, 1 / (1.01 * 0.99)]
    assert estimate_speedup(control) == pytest.approx(estimate_over_sessions(control))


def test_the_two_runs_of_openvino_that_lay_apart_overlap() -> None:
    """Sessions of the commits f76134a and 98f9f3f, timed hours apart on a shared Zen 5: 4.05 to 4.47, 3.25 to 3.89."""
    earlier, later = estimate_speedup([4.18, 4.32, 4.26]), estimate_speedup([3.31, 3.58, 3.63, 3.71])
    assert earlier.low < later.high


# Where more than this many pictures are lost, or changed as usual, the two made-up ones weigh little.
@pytest.mark.parametrize(("kind", "pictures", "share"), [("usual", 50, 1), ("usual", 200, 0.2), ("lost", 200, 0.05)])
def test_changes_of_many_captions_hold_the_truth_93_to_97_times_in_100(kind: str, pictures: int, share: float) -> None:
    coverage, _ = change_coverage(kind, pictures, share, RUNS)
    assert 0.93 - CHANCE <= coverage <= 0.97 + CHANCE


@pytest.mark.parametrize("kind", ["small", "usual", "seldom lost", "lost"])
@pytest.mark.parametrize("pictures", [10, 50, 200])
@pytest.mark.parametrize("share", [0.01, 0.2, 1])
def test_changes_of_few_captions_hold_the_truth_at_least_as_often(kind: str, pictures: int, share: float) -> None:
    coverage, width = change_coverage(kind, pictures, share, 300)
    assert coverage >= 0.93 - 3 * (0.05 * 0.95 / 300) ** 0.5
    assert width < 3 * CAPTION / pictures + 2.5 * CAPTION * share**0.5 / pictures**0.5  # and they say something


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=30))
def test_a_change_lies_in_its_interval_and_turns_over(scores: list[tuple[float, float]]) -> None:
    after, before = np.asarray(scores).T
    estimate = estimate_change(after, before)
    assert estimate.value == pytest.approx(np.mean(after - before), abs=1e-9)
    assert estimate.low <= estimate.value + 1e-9 and estimate.value <= estimate.high + 1e-9
    assert estimate_change(before, after) == pytest.approx((-estimate.value, -estimate.high, -estimate.low), abs=1e-9)


def test_captions_that_are_all_the_same_leave_less_doubt_the_more_there_are() -> None:
    widths = [estimate_change(np.full(pictures, 5.8), np.full(pictures, 5.8)).high for pictures in (10, 50, 200, 500)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0.032, abs=0.002)


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("pictures", [10, 50, 200])
def test_a_share_s_interval_holds_the_truth_at_least_93_times_in_100(truth: float, pictures: int) -> None:
    counts = np.arange(pictures + 1)
    intervals = [estimate_between(np.arange(pictures) < count, 0, 1) for count in counts]
    holds = [each.low <= truth <= each.high for each in intervals]
    assert binom.pmf(counts, pictures, truth) @ holds >= 0.93


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_share_lies_in_its_interval_between_0_and_1(values: list[float]) -> None:
    estimate = estimate_between(values, 0, 1)
    assert 0 <= estimate.low <= estimate.value + 1e-9 and estimate.value <= estimate.high + 1e-9 <= 1 + 1e-9
    assert estimate.low < 1 and estimate.high > 0


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
