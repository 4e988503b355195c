from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.timing.statistics import BETWEEN_FINALS, estimate_lead, estimate_over_sessions
from tests.timing.between_finals import deviation_between, read_kept


def test_what_finals_share_is_what_kept_runs_are_apart_by() -> None:
    assert deviation_between(list(read_kept().values())) == pytest.approx(BETWEEN_FINALS, abs=0.0005)


@pytest.mark.parametrize("model", read_kept())
def test_any_two_kept_runs_overlap_as_their_sessions_alone_would_not(model: str) -> None:
    figures = [np.exp(run) for run in read_kept()[model]]
    for one, other in combinations(map(estimate_lead, figures), 2):
        assert one.low < other.high and other.low < one.high
    alone = [estimate_over_sessions(run) for run in figures]
    assert any(one.low > other.high or other.low > one.high for one, other in combinations(alone, 2))


@settings(max_examples=10)
@given(st.floats(0.02, 0.2), st.integers(0, 2**31))
def test_a_share_that_is_drawn_is_found(share: float, seed: int) -> None:
    dice = np.random.default_rng(seed)
    # So many sessions that all runs weigh alike: of six, their own spread is known so badly that a few runs count.
    groups = [[dice.normal(dice.normal(mean, share), 0.01, 60) for _ in range(120)] for mean in (0.1, 0.5)]
    assert deviation_between(groups) == pytest.approx(share, rel=0.25)  # five deviations of one from 240 runs


def test_where_sessions_explain_all_nothing_is_shared() -> None:
    run = np.array([0.1, 0.2, 0.3])
    assert deviation_between([[run, run, run]]) == 0
