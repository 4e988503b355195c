"""Chooses the words of captions, in numpy, for every runtime that only computes logits.

Greedy decoding and beam search give the tokens that transformers' `generate` gives on the same logits, and scores are
those that it computes. They are computed only if somebody asks: that takes a pass over each word's logits.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from .bans import forbid
from .decoding import Decoding
from .drafts import Drafts
from .scores import ScoredTokens

# What no real score reaches, for beams that do not exist yet. Finite, so that sums of it stay comparable.
IMPOSSIBLE = np.float32(-1e9)
# Of a long prompt before many rows, so many words are given to the decoder in one step: their logits take 60 MB.
MOST_AT_ONCE = 512


class Decoder(Protocol):
    """A decoder that has seen some pictures and remembers, row by row, the tokens it was given since."""

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends words to each row and returns the logits after each of them, float32 (rows, words, vocabulary).

        Takes tokens, int64 (rows, words), and parents, int64 (rows,): before the step, row i becomes a copy of row
        `parents[i]`. Rows lie picture by picture, always as many. The caller may overwrite the logits, but not keep
        them past the next step.
        """
        ...

    def cut_back(self, lengths: np.ndarray) -> None:
        """Lets row i forget all but its first `lengths[i]` words, int64 (rows,)."""
        ...


class Vocabulary(NamedTuple):
    """The tokens with a meaning of their own, and the sequences of tokens that may not be said, as `bans.by_length`
    groups them."""

    begin: int
    end: int
    pad: int
    banned: Sequence[np.ndarray] = ()


def generate(
    decoder: Decoder,
    pictures: int,
    prompt: Sequence[int],
    decoding: Decoding,
    vocabulary: Vocabulary,
    drafts: Drafts | None = None,
    scored: bool = False,
) -> list[ScoredTokens]:
    """One caption per picture: the prompt's tokens and the new ones, without those that begin and end it.

    `decoder` must be new and have `decoding.beams` rows per picture. Greedy decoding checks the guesses of `drafts`,
    which then learns each caption. Scores are computed if `scored`, and no numbers (NaN) if not.
    """
    beginning = np.asarray([vocabulary.begin, *prompt], dtype=np.int64)
    words = np.tile(beginning, (pictures * decoding.beams, 1))
    if drafts and decoding.drafts and decoding.beams == 1 and decoding.temperature == 0:
        return _check_drafts(decoder, words, decoding, vocabulary, drafts, scored)
    logits = feed(decoder, words)
    if decoding.beams > 1:
        return _search_beams(decoder, words, logits, decoding, vocabulary, scored)
    return _extend(decoder, words, logits, decoding, vocabulary, scored)


def feed(decoder: Decoder, words: np.ndarray) -> np.ndarray:
    """Gives a decoder the same number of words for every row, int64 (rows, words), and returns the last logits, float32
    (rows, vocabulary)."""
    same_rows = np.arange(len(words), dtype=np.int64)
    at_once = _words_at_once(len(words))
    for first in range(0, words.shape[1], at_once):
        logits = decoder.step(words[:, first : first + at_once], same_rows)
    return logits[:, -1]


def _words_at_once(rows: int) -> int:
    return max(1, MOST_AT_ONCE // rows)


def _extend(
    decoder: Decoder, words: np.ndarray, logits: np.ndarray, decoding: Decoding, vocabulary: Vocabulary, scored: bool
) -> list[ScoredTokens]:
    """Greedy decoding or sampling: every row goes its own way."""
    same_rows = np.arange(len(words), dtype=np.int64)
    dice = np.random.default_rng(decoding.seed)
    prompt_length = words.shape[1]
    open_rows = np.ones(len(words), dtype=bool)
    totals = _zeros(len(words), scored)
    while True:
        length = words.shape[1] - prompt_length
        own = _log_softmax(logits) if scored else None
        scores = _adjust(logits, words, length, decoding, vocabulary)
        chosen = sample(scores, decoding, dice) if decoding.temperature > 0 else scores.argmax(axis=-1)
        chosen = np.where(open_rows, chosen, vocabulary.pad)
        if own is not None:
            totals += np.where(open_rows, own[same_rows, chosen], 0)
        words = np.column_stack([words, chosen])
        open_rows &= chosen != vocabulary.end
        if length + 1 == decoding.max_new_tokens or not open_rows.any():
            return [_caption(row, prompt_length, total, vocabulary) for row, total in zip(words, totals, strict=True)]
        logits = decoder.step(chosen[:, None], same_rows)[:, 0]


def _check_drafts(
    decoder: Decoder, words: np.ndarray, decoding: Decoding, vocabulary: Vocabulary, drafts: Drafts, scored: bool
) -> list[ScoredTokens]:
    """Greedy decoding, some guessed words a step: each row goes on from the first guess that it would not have said.

    All steps take the same number of words, padded where fewer are guessed: that costs an engine less than the change
    to another shape.
    """
    guesses = decoding.drafts if drafts.pace.is_guessing_next() else 0
    fed = max(0, words.shape[1] - _words_at_once(len(words)))
    if fed:
        feed(decoder, words[:, :fed])
    captions = [_DraftedCaption(row, fed, decoding, vocabulary, drafts, guesses, scored) for row in words.tolist()]
    same_rows = np.arange(len(words), dtype=np.int64)
    while not all(caption.ended for caption in captions):
        started = perf_counter()
        decoder.cut_back(np.array([0 if caption.ended else caption.seen for caption in captions]))
        step = np.array([caption.next_words() for caption in captions], dtype=np.int64)
        logits = decoder.step(step, same_rows)
        said = sum(caption.go_on(scores) for caption, scores in zip(captions, logits, strict=True))
        drafts.pace.add(guesses > 0, perf_counter() - started, said)
    for caption in captions:
        drafts.learn(caption.words)
    return [_caption(np.array(caption.words), caption.prompt_length, caption.total, vocabulary) for caption in captions]


class _DraftedCaption:
    """One row of greedy decoding: its words, how many of them the decoder has seen, guesses behind them, and, if it is
    scored, the total of its new words' log-probabilities."""

    def __init__(
        self,
        words: list[int],
        seen: int,
        decoding: Decoding,
        vocabulary: Vocabulary,
        drafts: Drafts,
        most_guesses: int,
        scored: bool,
    ) -> None:
        self.words, self.seen, self.guesses, self.ended = words, seen, list[int](), False
        self.most_guesses, self.scored, self.total = most_guesses, scored, 0.0 if scored else np.nan
        self.decoding, self.vocabulary, self.drafts = decoding, vocabulary, drafts
        self.prompt_length = len(words)
        self._guess()

    def _guess(self) -> None:
        self.guesses = self.drafts.guess(self.words, min(self.most_guesses, self._room() - 1))

    def _room(self) -> int:
        """How many words may still come."""
        return self.prompt_length + self.decoding.max_new_tokens - len(self.words)

    def next_words(self) -> list[int]:
        """What the decoder is to see next: the words that it has not seen and the most guesses, padded if there are
        fewer."""
        return [
            *self.words[self.seen :],
            *self.guesses,
            *[self.vocabulary.pad] * (self.most_guesses - len(self.guesses)),
        ]

    def go_on(self, logits: np.ndarray) -> int:
        """Takes the likeliest words, from the logits (words, vocabulary) after each of `next_words`, up to the first
        that was not guessed, and guesses anew. Returns how many words it took."""
        if self.ended:
            return 0
        before = len(self.words)
        for scores, guess in zip(logits[before - self.seen - 1 :], [*self.guesses, None], strict=False):
            length = len(self.words) - self.prompt_length
            own = _log_softmax(scores) if self.scored else None
            scores = _adjust(scores[None], np.array([self.words]), length, self.decoding, self.vocabulary)
            chosen = int(scores.argmax())
            if own is not None:
                self.total += float(own[chosen])
            self.words.append(chosen)
            self.ended = chosen == self.vocabulary.end or not self._room()
            if self.ended or chosen != guess:
                break
        self.seen = len(self.words) - 1
        if not self.ended:
            self._guess()
        return len(self.words) - before


def sample(scores: np.ndarray, decoding: Decoding, dice: np.random.Generator) -> np.ndarray:
    """Draws one token per row, int64 (rows,), from scores, float32 (rows, vocabulary), by temperature, top-k and top-p.

    Source of top-p: A. Holtzman et al., The Curious Case of Neural Text Degeneration, ICLR 2020.
    """
    scores = scores / np.float32(decoding.temperature)
    if 0 < decoding.top_k < scores.shape[-1]:
        weakest = np.partition(scores, -decoding.top_k, axis=-1)[:, -decoding.top_k, None]
        scores[scores < weakest] = -np.inf
    if decoding.top_p < 1:
        order = scores.argsort(axis=-1)
        ranked = np.take_along_axis(scores, order, axis=-1)
        improbable = np.exp(_log_softmax(ranked)).cumsum(axis=-1) <= 1 - decoding.top_p
        improbable[:, -1] = False
        ranked[improbable] = -np.inf
        np.put_along_axis(scores, order, ranked, axis=-1)
    # The largest of scores with Gumbel noise is a draw from their softmax.
    drawn: np.ndarray = (scores + dice.gumbel(size=scores.shape)).argmax(axis=-1)
    return drawn


def _search_beams(
    decoder: Decoder, words: np.ndarray, logits: np.ndarray, decoding: Decoding, vocabulary: Vocabulary, scored: bool
) -> list[ScoredTokens]:
    """Beam search: of all continuations of a picture's rows, the likeliest go on, and the best that ended is kept.

    A caption's rank is the sum of its tokens' log-probabilities over its length to the power of `length_penalty`.
    """
    beams, given = decoding.beams, words.shape[1]
    pictures = len(words) // beams
    finished = [FinishedBeams(decoding) for _ in range(pictures)]
    # All rows of a picture are the same at first, so only one of them may go on.
    totals = np.full((pictures, beams), IMPOSSIBLE, dtype=np.float32)
    totals[:, 0] = 0
    own_totals = _zeros(len(words), scored)
    for length in range(1, decoding.max_new_tokens + 1):
        adjusted = _log_softmax(logits)
        own = adjusted.copy() if scored else adjusted
        scores = _adjust(adjusted, words, length - 1, decoding, vocabulary).reshape(pictures, beams, -1)
        # Of twice the beams, at least as many as there are beams go on, even if every row might end here.
        totals, parents, chosen = _best_continuations(scores + totals[:, :, None], 2 * beams)
        rows = parents + beams * np.arange(pictures)[:, None]
        own_totals = own_totals[rows] + own[rows, chosen]
        ended = (chosen == vocabulary.end) | (length == decoding.max_new_tokens)
        for place in zip(*np.nonzero(ended[:, :beams]), strict=True):
            caption = np.append(words[rows[place]], chosen[place])
            finished[place[0]].add(float(totals[place]), length, caption, float(own_totals[place]))
        going_on = ended.argsort(axis=-1, kind="stable")[:, :beams]
        totals, rows, chosen, own_totals = (
            np.take_along_axis(values, going_on, axis=-1) for values in (totals, rows, chosen, own_totals)
        )
        for found, best_total in zip(finished, totals[:, 0], strict=True):
            found.close_if_hopeless(float(best_total), length)
        if length == decoding.max_new_tokens or all(found.closed for found in finished):
            break
        own_totals = own_totals.ravel()
        words = np.column_stack([words[rows.ravel()], chosen.ravel()])
        logits = decoder.step(chosen.reshape(-1, 1), rows.ravel())[:, 0]
    best = [found.captions[0] for found in finished]
    return [_caption(tokens, given, own_total, vocabulary, rank) for rank, tokens, own_total in best]


class FinishedBeams:
    """The best captions of one picture that have ended, at most as many as beams, best first: what ranks each, its
    tokens, and the sum of their log-probabilities before any adjustment."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        self.captions: list[tuple[float, np.ndarray, float]] = []
        self.closed = False

    def add(self, total: float, length: int, tokens: np.ndarray, own_total: float) -> None:
        """Takes in a caption by the sum of its log-probabilities, as adjusted and as they were, and its number of new
        tokens, if it is good enough. What bans make impossible is none."""
        if not self.closed and total != -np.inf:
            self.captions.append((self._score(total, length), tokens, own_total))
            self.captions.sort(key=lambda caption: -caption[0])
            del self.captions[self.decoding.beams :]

    def close_if_hopeless(self, best_total: float, length: int) -> None:
        """Ends the search if it need not go on, or can't get better, given the best row that still goes on."""
        if len(self.captions) == self.decoding.beams:
            hopeless = self._score(best_total, length) <= self.captions[-1][0]
            self.closed |= self.decoding.early_stopping or hopeless

    def _score(self, total: float, length: int) -> float:
        score: float = total / length**self.decoding.length_penalty
        return score


def _best_continuations(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest of scores (pictures, beams, vocabulary), best first: scores, beams and tokens, (pictures, count)."""
    flat = scores.reshape(len(scores), -1)
    best = np.argpartition(flat, -count, axis=-1)[:, -count:]
    order = np.take_along_axis(flat, best, axis=-1).argsort(axis=-1)[:, ::-1]
    best = np.take_along_axis(best, order, axis=-1)
    beams, tokens = np.divmod(best, scores.shape[-1])
    return np.take_along_axis(flat, best, axis=-1), beams, tokens


def _adjust(
    scores: np.ndarray, words: np.ndarray, length: int, decoding: Decoding, vocabulary: Vocabulary
) -> np.ndarray:
    """Makes repeated words less likely, and banned ones and an early end impossible, in place. Scores: float32 (rows,
    vocabulary)."""
    if decoding.repetition_penalty != 1:
        penalty = np.float32(decoding.repetition_penalty)
        said = np.take_along_axis(scores, words, axis=-1)
        np.put_along_axis(scores, words, np.where(said < 0, said * penalty, said / penalty), axis=-1)
    if decoding.no_repeat_ngram or vocabulary.banned:
        forbid(scores, words, decoding.no_repeat_ngram, vocabulary.banned)
    if length < decoding.min_new_tokens:
        scores[:, vocabulary.end] = -np.inf
    return scores


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def _zeros(rows: int, scored: bool) -> np.ndarray:
    """What sums of log-probabilities begin with, float64 (rows,): no numbers, and so they stay, if nobody asks."""
    return np.full(rows, 0.0 if scored else np.nan)


def _caption(
    words: np.ndarray, given: int, total: float, vocabulary: Vocabulary, beam_score: float | None = None
) -> ScoredTokens:
    """A row's caption and its scores, by the sum of the log-probabilities of all words behind the `given` first."""
    row: list[int] = words.tolist()
    end = row.index(vocabulary.end) if vocabulary.end in row else len(row)
    new = min(end + 1, len(row)) - given
    return ScoredTokens(row[1:end], float(total) / new, beam_score)
