from hypothesis import given
from hypothesis import strategies as st

from stages.timing.replay import RIGHT, Replay


@given(st.lists(st.integers(1, 99), min_size=1, max_size=12), st.integers(0, 15))
def test_guesses_go_on_as_the_caption_does_and_no_further(words: list[int], most: int) -> None:
    replay = Replay()
    replay.expect("own", lambda: [words])
    for place in range(len(words) + 1):
        guesses = replay.guess([0, *words[:place]], most)
        assert len(guesses) == min(most, len(words) - place)
        assert all(guess in (word, word - 1) for guess, word in zip(guesses, words[place:], strict=False))
    assert replay.guess([0, 100], most) == []


def test_a_share_of_the_words_is_right() -> None:
    replay, words = Replay(), list(range(1, 2001))
    replay.expect("own", lambda: [words])
    guesses = replay.guess([0], len(words))
    right = sum(guess == word for guess, word in zip(guesses, words, strict=True)) / len(words)
    assert abs(right - RIGHT) < 0.06  # five deviations


def test_what_was_said_is_known_of_its_request_alone() -> None:
    replay = Replay()
    replay.expect("a", lambda: [[5, 6]])
    assert replay.guess([0, 7], 3) == []
    replay.learn([0, 7, 8, 9])
    replay.expect("b", lambda: [[9]])
    assert replay.guess([0, 5], 3) == replay.guess([0, 7], 3) == []
    replay.expect("a", lambda: [[1, 2, 3, 4]])
    assert len(replay.guess([0, 7], 3)) == 2 and len(replay.guess([0, 5], 3)) == 1
    assert replay.guess([0, 1], 3) == [], "what a request says is asked once"
