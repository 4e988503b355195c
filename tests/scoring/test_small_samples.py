import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from stages.scoring.small_samples import estimate_relative_change, estimate_share


def test_no_difference_among_few_pictures_is_not_certainty() -> None:
    assert estimate_share(np.ones(10)) == pytest.approx((1, 0.025 ** (1 / 10), 1))
    scores = np.full(10, 1.3)
    estimate, deviation = estimate_relative_change(scores, scores)
    assert deviation == 0
    assert estimate == pytest.approx((0, 0.025 ** (1 / 10) - 1, 1 - 0.025 ** (1 / 10)), abs=0.01)


@pytest.mark.parametrize(("kept", "pictures"), [(10, 10), (0, 12), (45, 50), (199, 200)])
def test_scores_lost_whole_have_the_exact_bound_of_their_share(kept: int, pictures: int) -> None:
    flags = np.arange(pictures) < kept
    low = estimate_relative_change(flags * 1.0, np.ones(pictures)).estimate.low
    assert low == pytest.approx(estimate_share(flags).low - 1, abs=0.012)
    assert estimate_share(flags).low == pytest.approx(beta.ppf(0.025, kept, pictures - kept + 1) if kept else 0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 10)), min_size=2, max_size=20), st.floats(0.1, 100))
@settings(max_examples=25)
def test_a_relative_change_has_no_unit_and_lies_in_its_interval(pairs: list[tuple[float, float]], unit: float) -> None:
    scores, baseline = np.asarray(pairs).T
    estimate, deviation = estimate_relative_change(scores, baseline)
    assert -1 - 1e-9 <= estimate.low <= estimate.value <= estimate.high
    assert estimate.value == pytest.approx(scores.mean() / baseline.mean() - 1)
    scaled = estimate_relative_change(scores * unit, baseline * unit)
    assert (*scaled.estimate, scaled.deviation) == pytest.approx((*estimate, deviation), rel=1e-6, abs=1e-6)


def test_of_a_baseline_that_scores_nothing_there_is_no_share() -> None:
    with pytest.raises(ValueError, match="scores nothing"):
        estimate_relative_change(np.ones(3), np.zeros(3))


# Of the share of captions that change, and how much of their score these lose, on average.
@pytest.mark.parametrize(("changing", "loss"), [(0.005, 0.5), (0.05, 0.2), (0.3, 0.0)])
@pytest.mark.parametrize("pictures", [20, 200])
def test_lower_bounds_hold_the_truth_at_least_97_times_in_100(changing: float, loss: float, pictures: int) -> None:
    runs, dice = 400, np.random.default_rng(0)
    held = 0
    for _ in range(runs):
        baseline = dice.gamma(4, 0.3, pictures)
        lost = np.clip(dice.normal(loss, 0.3, pictures), -1, 1) * (dice.random(pictures) < changing)
        held += estimate_relative_change(baseline * (1 - lost), baseline).estimate.low <= -changing * loss
    assert held / runs >= 0.975 - 0.02  # with what chance does in so few runs


def test_the_deviation_tells_how_the_interval_narrows() -> None:
    dice = np.random.default_rng(0)
    baseline = dice.gamma(4, 0.3, 4000)
    scores = np.clip(baseline + dice.normal(0, 0.3, 4000), 0, None)
    estimate, deviation = estimate_relative_change(scores, baseline)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * deviation / 4000**0.5, rel=0.1)
