from typing import Any

import pytest

from stages.page.words import interval, number, words_of


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("latency_ms", 1133.045, "1,133"),
        ("latency_ms", 21.94, "21.9"),
        ("latency_ms", 7.71, "7.71"),
        ("token_ms", 0.1812, "0.181"),
        ("speedup", 7.425, "7.42"),
        ("same_caption", 0.9964, "99.6"),
        ("cider_change_share", -0.0313, "−3.1"),
        ("cider_change_share", -0.00004, "0.0"),
        ("encode_macs", 57123456789, "57,123,456,789"),
        ("pairs", 129, "129"),
        ("ended", "time over", "time over"),
        ("a_figure_of_tomorrow", 12.34, "12.3"),
    ],
)
def test_a_figure_has_the_digits_that_count(key: str, value: Any, text: str) -> None:
    assert number(value, words_of(key)) == text


def test_an_interval_is_there_if_both_its_ends_are() -> None:
    figures = {"kl": 0.5, "kl_ci_low": 0.25, "kl_ci_high": 0.75, "speedup": 2.0, "speedup_ci_low": 1.5}
    assert interval(figures, "kl") == "0.25000 to 0.75000"
    assert interval(figures, "speedup") == ""
