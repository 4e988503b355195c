from typing import Any

import pytest

from stages.search.choice import beaten, beaten_unbuilt, choose, exceeded, front, keeps_budgets
from stages.setup.params import Accept


def timed(*pairs: tuple[float, float]) -> dict[int, dict[str, Any]]:
    return {number: {"lead": lead, "kl": kl} for number, (lead, kl) in enumerate(pairs)}


def test_the_front_is_who_no_other_beats() -> None:
    own = timed((1, 0.001), (1.5, 0.01), (1.4, 0.02), (2, 0.05), (2, 0.06), (1.2, 0.001))
    assert front(own) == [3, 1, 5]
    assert choose(own) == {"found_fast": 3, "found_even": 1, "found_careful": 5}


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([], {}),
        ([(1.0, 0.1)], {"found_fast": 0}),
        ([(1.0, 0.0), (0.9, 0.1)], {"found_fast": 0}),  # nothing is faster
        ([(1.0, 0.0), (1.03, 0.01), (1.05, 0.1), (0.99, 0.001)], {"found_fast": 2, "found_careful": 1}),
        ([(1.0, 0.0), (1.5, 0.0)], {"found_fast": 1}),  # time alone
        ([(1.0, 0.0), (1.5, 0.1), (1.2, 0.05)], {"found_fast": 1, "found_careful": 2}),
        ([(2.0, 0.1), (1.9, 0.02), (1.2, 0.01), (1.5, 0.018)], {"found_fast": 0, "found_even": 1, "found_careful": 2}),
    ],
)
def test_up_to_three_are_found_each_once(pairs: list[tuple[float, float]], found: dict[str, int]) -> None:
    assert choose(timed(*pairs)) == found


def test_who_is_worse_in_both_by_a_margin_is_beaten() -> None:
    assert beaten(1.0, 0.1, timed((1.11, 0.07)).values())
    assert not beaten(1.0, 0.1, timed((1.09, 0.07), (1.11, 0.09)).values())
    first = [{"counted": 0.5, "first_kl": 0.01}]
    assert beaten_unbuilt(0.6, 0.02, first)
    assert not beaten_unbuilt(0.6, 0.011, first) and not beaten_unbuilt(0.51, 0.02, first)


def test_budgets_are_kept_or_exceeded_and_of_captions_only_where_these_mean_something() -> None:
    accept = Accept(
        cider_change_at_least=-0.01, same_caption_at_least=0.9, checkpoint_mb_at_most=10, memory_mb_at_most=100
    )
    figures = {"checkpoint_mb": 8.0, "same_caption": 0.85, "cider_change_share": 0.0, "peak_memory_mb": 90.0}
    assert exceeded(figures, accept, trained=True) == pytest.approx(
        {"checkpoint_mb_at_most": -2, "same_caption_at_least": 0.05, "cider_change_at_least": -0.01}
    )
    assert not keeps_budgets(figures, accept, trained=True)
    assert keeps_budgets(figures, accept, trained=False)
    assert not keeps_budgets(figures | {"peak_memory_mb": 101.0}, accept, trained=False)
    assert exceeded(figures, Accept(), trained=True) == {}
