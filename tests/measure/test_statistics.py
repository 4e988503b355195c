import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measure.statistics import estimate_mean, estimate_median, estimate_over_images

samples = st.lists(st.floats(0.1, 100), min_size=4, max_size=30)


def one_session(values: list[float]) -> list[int]:
    return [0] * len(values)


@given(samples)
@settings(deadline=None, max_examples=15)
def test_an_interval_surrounds_its_figure_and_stays_among_the_samples(values: list[float]) -> None:
    for estimate, figure in (
        (estimate_median(values, one_session(values), 200), np.median(values)),
        (estimate_mean(values, 200), np.mean(values)),
    ):
        assert estimate.value == pytest.approx(figure)
        assert min(values) - 1e-9 <= estimate.low <= estimate.high <= max(values) + 1e-9


@given(samples, st.floats(0.5, 50))
@settings(deadline=None, max_examples=15)
def test_another_unit_scales_everything(values: list[float], factor: float) -> None:
    scaled = estimate_median([value * factor for value in values], one_session(values), 200)
    assert scaled == pytest.approx(
        tuple(number * factor for number in estimate_median(values, one_session(values), 200))
    )


def test_equal_samples_leave_no_doubt() -> None:
    assert estimate_median([2.0] * 6, [0, 0, 0, 1, 1, 1], 200) == (2, 2, 2)


def test_the_interval_holds_the_true_median_about_95_times_in_100() -> None:
    dice = np.random.default_rng(0)
    hits = sum(
        low <= 10 <= high
        for _, low, high in (estimate_median(list(dice.normal(10, 2, 40)), [0] * 40, 300) for _ in range(100))
    )
    assert 0.88 <= hits / 100 <= 1


def test_sessions_that_differ_widen_the_interval() -> None:
    values, apart, mixed = [1.0] * 10 + [1.1] * 10, [0] * 10 + [1] * 10, [0, 1] * 10
    wide, narrow = (estimate_median(values, sessions, 500) for sessions in (apart, mixed))
    assert (wide.low, wide.high) == (1.0, 1.1)
    assert wide.high - wide.low >= narrow.high - narrow.low


def test_a_figure_over_images_is_resampled_by_image() -> None:
    values = np.arange(50, dtype=np.float64)
    estimate = estimate_over_images(50, lambda images: values[images].mean(axis=-1), 300)
    assert estimate.value == values.mean()
    assert estimate.low < values.mean() < estimate.high


def test_entries_are_named_and_rounded() -> None:
    entries = estimate_median([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1], 100).entries("speedup", 2)
    assert entries == {"speedup": 1.0, "speedup_ci_low": 1.0, "speedup_ci_high": 1.0}
