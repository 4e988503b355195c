"""Drafted decoding says word for word what plain greedy decoding says."""

import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.captioner.runtimes.bans import by_length
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import TRIED_EVERY, Drafts, Pace, count_steps
from stages.captioner.runtimes.generate import Vocabulary, generate
from stages.captioner.runtimes.past import UNSEEN, Past
from stages.captioner.runtimes.scores import ScoredTokens

WORDS, BEGIN, END, PAD = 9, 0, 1, 2
VOCABULARY = Vocabulary(BEGIN, END, PAD)


class RandomDecoder:
    """A decoder whose logits are a random function of the last words that a row attends to, and of their positions."""

    def __init__(self, rows: int, seed: int, memory: int) -> None:
        self.past, self.seed, self.memory = Past(rows), seed, memory
        self.tokens = np.zeros((rows, 0), dtype=np.int64)
        self.positions = np.zeros((rows, 0), dtype=np.int64)
        self.widths: list[int] = []

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        self.widths.append(tokens.shape[1])
        positions, mask = self.past.append(parents, tokens.shape[1])
        self.tokens = np.concatenate([self.tokens[parents], tokens], axis=1)
        self.positions = np.concatenate([self.positions[parents], positions], axis=1)
        return np.array(
            [[self._logits(row, mask[row, 0, word]) for word in range(tokens.shape[1])] for row in range(len(tokens))]
        )

    @property
    def steps(self) -> int:
        return len(self.widths)

    def cut_back(self, lengths: np.ndarray) -> None:
        self.past.cut_back(lengths)

    def _logits(self, row: int, mask: np.ndarray) -> np.ndarray:
        seen = mask > UNSEEN
        words = list(zip(self.positions[row][seen].tolist(), self.tokens[row][seen].tolist(), strict=True))
        assert [position for position, _ in words] == list(range(len(words)))
        dice = random.Random(repr((self.seed, row, words[-self.memory :])))
        return np.array([dice.random() * (3 if word == END else 4) for word in range(WORDS)], dtype=np.float32)


@given(
    seed=st.integers(0, 1000),
    pictures=st.integers(1, 4),
    memory=st.integers(1, 6),
    prompt=st.lists(st.integers(3, WORDS - 1), max_size=4),
    longest=st.integers(1, 24),
    shortest=st.integers(0, 8),
    repetition_penalty=st.sampled_from([1.0, 0.7, 1.5]),
    ngram=st.sampled_from([0, 0, 1, 2, 3]),
    banned=st.lists(st.lists(st.integers(3, WORDS - 1), min_size=1, max_size=3), max_size=3),
    guesses=st.integers(1, 15),
    learned=st.lists(st.lists(st.integers(1, WORDS - 1), min_size=1, max_size=12), max_size=12),
)
def test_captions_are_word_for_word_those_without_drafts(
    seed: int,
    pictures: int,
    memory: int,
    prompt: list[int],
    longest: int,
    shortest: int,
    repetition_penalty: float,
    ngram: int,
    banned: list[list[int]],
    guesses: int,
    learned: list[list[int]],
) -> None:
    vocabulary = VOCABULARY._replace(banned=by_length(banned))
    decoding = Decoding(
        max_new_tokens=longest,
        min_new_tokens=min(shortest, longest),
        repetition_penalty=repetition_penalty,
        no_repeat_ngram=ngram,
        drafts=guesses,
    )
    drafts = Drafts()
    for caption in learned:
        drafts.learn([BEGIN, *caption, END])
    plain, drafted, again = (RandomDecoder(pictures, seed, memory) for _ in range(3))
    expected = generate(plain, pictures, prompt, decoding, vocabulary, scored=True)
    assert_alike(generate(drafted, pictures, prompt, decoding, vocabulary, drafts, scored=True), expected)
    assert drafted.steps <= plain.steps
    # What was just said is guessed, word for word where one caption can't be taken for another's beginning.
    assert_alike(generate(again, pictures, prompt, decoding, vocabulary, drafts, scored=True), expected)
    positions = again.positions
    assert positions.max() < len(prompt) + longest + guesses  # where they end, `GraphCaptioner` lets fewer be guessed
    assert set(again.widths[1:]) <= {1 + guesses}  # a change of shape costs more than the words that pad a step


def assert_alike(captions: list[ScoredTokens], expected: list[ScoredTokens]) -> None:
    """Word for word, and with the same scores but for rounding."""
    assert [caption.tokens for caption in captions] == [caption.tokens for caption in expected]
    assert [caption.score for caption in captions] == pytest.approx([caption.score for caption in expected], rel=1e-6)


def says(decoder: RandomDecoder, decoding: Decoding, drafts: Drafts | None = None) -> list[list[int]]:
    """The tokens of one picture's caption."""
    return [caption.tokens for caption in generate(decoder, 1, [], decoding, VOCABULARY, drafts)]


def test_a_caption_that_was_learned_takes_a_step_for_as_many_words_as_are_guessed() -> None:
    decoding, drafts = Decoding(max_new_tokens=12, min_new_tokens=12, drafts=3), Drafts()
    plain = RandomDecoder(1, 7, 6)  # its caption has no beginning that comes twice
    (caption,) = says(plain, decoding)
    drafts.learn([BEGIN, *caption])
    drafted = RandomDecoder(1, 7, 6)
    assert says(drafted, decoding, drafts) == [caption]
    assert plain.steps == 12
    assert drafted.steps == 3


@given(
    seed=st.integers(0, 1000),
    longest=st.integers(1, 24),
    guesses=st.integers(1, 15),
    learned=st.lists(st.lists(st.integers(1, WORDS - 1), min_size=1, max_size=12), max_size=12),
)
def test_steps_are_counted_as_decoding_takes_them(
    seed: int, longest: int, guesses: int, learned: list[list[int]]
) -> None:
    drafts = Drafts()
    for caption in learned:
        drafts.learn([BEGIN, *caption, END])
    drafts.learning = False
    decoder, decoding = RandomDecoder(1, seed, 3), Decoding(max_new_tokens=longest, drafts=guesses)
    (caption,) = says(decoder, decoding, drafts)
    words = [BEGIN, *caption, *([END] if len(caption) < longest else [])]
    counted = count_steps(drafts, [words], 1, guesses)
    assert counted.steps == decoder.steps
    assert counted.words == len(words) - 1 and counted.right <= counted.guesses
    assert counted.words == counted.right + counted.steps


def test_a_table_that_does_not_learn_guesses_as_before() -> None:
    drafts = Drafts()
    drafts.learning = False
    drafts.learn([BEGIN, 5, 6, END])
    assert drafts.guess([BEGIN], 3) == []


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), max_size=9), st.lists(st.integers(0, 6)))
def test_the_guess_is_what_came_most_often_behind_the_longest_known_context(
    captions: list[list[int]], words: list[int]
) -> None:
    drafts = Drafts()
    for caption in captions:
        drafts.learn(caption)
    guesses = drafts.guess(words, 1)
    for length in range(min(4, len(words)), 0, -1):
        context = words[-length:]
        followers = [
            caption[end]
            for caption in captions
            for end in range(length, len(caption))
            if caption[end - length : end] == context
        ]
        if followers:
            assert followers.count(guesses[0]) == max(map(followers.count, followers))
            return
    assert guesses == []


@given(cost=st.floats(1.01, 4), yielded=st.integers(1, 4), seconds=st.floats(1e-4, 1))
def test_guesses_are_checked_where_that_says_more_words_a_second(cost: float, yielded: int, seconds: float) -> None:
    """`cost` is what a step with guesses takes of one without, and says so many words."""
    assume(abs(cost - yielded) > 1e-6)  # nearer than that, sums of either kind are rounded apart
    pace, guessed = Pace(), list[bool]()
    for _ in range(4 * TRIED_EVERY):
        guessed.append(pace.is_guessing_next())
        for _ in range(6):
            pace.add(guessed[-1], seconds * (cost if guessed[-1] else 1), yielded if guessed[-1] else 1)
    often = sum(guessed[TRIED_EVERY:]) / (3 * TRIED_EVERY)
    assert often == (1 - 1 / TRIED_EVERY if cost <= yielded else 1 / TRIED_EVERY)
