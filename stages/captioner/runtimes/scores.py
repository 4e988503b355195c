"""How sure a captioner is of its captions, by its own probabilities."""

from typing import NamedTuple


class Caption(NamedTuple):
    """A caption and how sure the captioner is of it.

    `score` is the mean of the natural logarithms of the new tokens' probabilities: at most 0, and the higher, the
    surer. New are the tokens behind the prompt and the one that ends the caption, if it ended, so that the empty
    caption has a score too. The probabilities are the model's own, whatever penalties, bans and temperature make of
    them. `beam_score` is what ranked the caption in beam search: the sum of the log-probabilities, by penalties and
    bans, over the number of new tokens to the power of `length_penalty`; None without beams.
    """

    text: str
    score: float
    beam_score: float | None


class ScoredTokens(NamedTuple):
    """A caption's token ids, the prompt's and the new ones, without those that begin and end it; scores as those of
    a `Caption`."""

    tokens: list[int]
    score: float
    beam_score: float | None
