from hypothesis import given
from hypothesis import strategies as st

from stages.timing.replay import RIGHT, Replay


@given(st.lists(st.integers(1, 99), min_size=1, max_size=12), st.integers(0, 15))
def test_guesses_go_on_as_the_caption_does_and_no_further(words: list[int], most: int) -> None:
    replay = Replay()
    replay.expect([words])
    for place in range(len(words) + 1):
        guesses = replay.guess([0, *words[:place]], most)
        assert len(guesses) == min(most, len(words) - place)
        assert all(guess in (word, word - 1) for guess, word in zip(guesses, words[place:], strict=False))
    assert replay.guess([0, 100], most) == []


def test_a_share_of_the_words_is_right() -> None:
    replay, words = Replay(), list(range(1, 2001))
    replay.expect([words])
    guesses = replay.guess([0], len(words))
    right = sum(guess == word for guess, word in zip(guesses, words, strict=True)) / len(words)
    assert abs(right - RIGHT) < 0.06  # five deviations


def test_nothing_is_learned_and_what_was_known_is_forgotten() -> None:
    replay = Replay()
    replay.expect([[5, 6]])
    replay.learn([0, 7, 8])
    assert replay.guess([0, 7], 3) == []
    replay.expect([[9]])
    assert replay.guess([0, 5], 3) == []
