"""What the baseline takes for the next token at each position of its captions, kept so that it is computed only once,
and how far another model agrees with it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp

# At each position so many of the likeliest tokens are kept, and as many more as it takes until all others together are
# this unlikely: a few hundred of a trained model, nearly all of an untrained one, which has no favorites.
LEAST_KEPT = 256
OTHERS_AT_MOST = 1e-4


class NextTokens(NamedTuple):
    """The distribution of the next token at each position of one caption, in cells: the likeliest tokens, each a cell
    of its own, and all others in one."""

    kept: np.ndarray
    """How many tokens are kept, int64 (positions,)."""
    tokens: np.ndarray
    """The kept tokens' ids, position by position, the likeliest first, integers (sum of kept,)."""
    log_probabilities: np.ndarray
    """Their natural logarithms of probability, float32 (sum of kept,)."""
    others: np.ndarray
    """The logarithm of all other tokens' probability, float32 (positions,); minus infinity if there are none."""

    def positions(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Tokens, their log-probabilities and that of all others, position by position."""
        ends = np.cumsum(self.kept)
        for (first, last), others in zip(pairwise([0, *ends]), self.others, strict=True):
            yield self.tokens[first:last], self.log_probabilities[first:last], float(others)


def likeliest(logits: np.ndarray) -> NextTokens:
    """The distribution that logits (positions, vocabulary) mean."""
    scores = log_softmax(logits.astype(np.float64), axis=-1)
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=-1)
    enough = (np.exp(ranked).cumsum(axis=-1) < 1 - OTHERS_AT_MOST).sum(axis=-1) + 1
    kept = np.clip(enough, LEAST_KEPT, None).clip(max=scores.shape[-1])
    chosen = np.arange(scores.shape[-1]) < kept[:, None]
    others = logsumexp(np.where(chosen, -np.inf, ranked), axis=-1)
    ids = order.astype(np.min_scalar_type(scores.shape[-1]))
    return NextTokens(kept, ids[chosen], ranked[chosen].astype(np.float32), others.astype(np.float32))


def agreement(logits: np.ndarray, expected: NextTokens) -> tuple[float, float]:
    """How alike a model, by its logits (positions, vocabulary), and the baseline continue the same words.

    Returns the share of positions with the same likeliest token, and the mean over positions of the Kullback-Leibler
    divergence of the model from the baseline, in nats. It is that over the baseline's cells, a lower bound of the one
    over all tokens, as joining some in one cell can only take from it (the log-sum inequality; T. Cover, J. Thomas:
    Elements of Information Theory, 2006, section 2.7). The two differ by less than 1 %:
    tests/scoring/test_next_tokens.py compares them.
    """
    scores = log_softmax(logits.astype(np.float64), axis=-1)
    same, divergences = [], []
    for best, row, (tokens, log_probabilities, others) in zip(
        logits.argmax(axis=-1), scores, expected.positions(), strict=True
    ):
        same.append(best == tokens[0])
        baseline = np.append(log_probabilities, others)
        own = np.append(row[tokens], logsumexp(np.delete(row, tokens)) if np.isfinite(others) else -np.inf)
        cells = np.isfinite(baseline)
        divergences.append(np.sum(np.exp(baseline[cells]) * (baseline[cells] - own[cells])))
    # What is 0 comes out as a little less or more, as log-probabilities are kept in float32.
    return float(np.mean(same)), max(0.0, float(np.mean(divergences)))


def write_next_tokens(pictures: Sequence[NextTokens], path: Path) -> None:
    """Writes those of all pictures as one compressed NumPy archive, whole or not at all, the same bytes each time."""
    arrays: dict[str, Any] = {
        field: np.concatenate([getattr(picture, field) for picture in pictures]) for field in NextTokens._fields
    }
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, positions=np.array([len(picture.kept) for picture in pictures]), **arrays)
    unfinished.rename(path)


def read_next_tokens(path: Path) -> list[NextTokens]:
    """Reads what `write_next_tokens` wrote, a distribution for each picture."""
    with np.load(path, allow_pickle=False) as archive:
        positions, kept, tokens, log_probabilities, others = (
            archive[name] for name in ("positions", *NextTokens._fields)
        )
    by_picture = np.cumsum(positions)[:-1]
    by_token = np.cumsum(kept)[by_picture - 1]
    parts = (
        np.split(kept, by_picture),
        np.split(tokens, by_token),
        np.split(log_probabilities, by_token),
        np.split(others, by_picture),
    )
    return [NextTokens(*picture) for picture in zip(*parts, strict=True)]
