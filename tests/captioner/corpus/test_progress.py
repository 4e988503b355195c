import pytest

from stages.captioner.corpus.progress import duration, in_words


def test_what_is_left_goes_by_this_run_s_own_pace() -> None:
    assert in_words(1500, 10_000, 500, 50.0) == "1,500 of 10,000 pictures, 10 a second, 14 minutes left"
    assert in_words(1000, 10_000, 0, 50.0) == "1,000 of 10,000 pictures"
    assert in_words(0, 10, 0, 0.0) == "0 of 10 pictures"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours"), (9e5, "10 days")],
)
def test_times_are_told_in_one_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
