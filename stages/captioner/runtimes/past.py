"""What a decoder's rows remember of the words that they were given, and how they forget those that were only guessed.

Engines keep the keys and values of all words that they ever saw, column after column. A word that a row is to forget
stays where it is, and the row no longer attends to it: nothing is moved, and each row may forget as many as it likes.
"""

import numpy as np

# What is added to an attention score so that nothing is left of it: finite, as it passes through bfloat16, too.
UNSEEN = np.float32(-1e9)


class Past:
    """Which columns each row attends to."""

    def __init__(self, rows: int) -> None:
        self.seen = np.zeros((rows, 0), dtype=bool)

    def append(self, parents: np.ndarray, words: int) -> tuple[np.ndarray, np.ndarray]:
        """Adds columns for new words of each row, once row i has become a copy of row `parents[i]`.

        Returns the words' positions, int64 (rows, words), and what is to be added to their attention scores, float32
        (rows, 1, words, columns): each word sees what its row remembers, itself, and the new words before it.
        """
        before = self.seen[parents]
        rows = len(before)
        positions = before.sum(axis=-1)[:, None] + np.arange(words)
        causal = np.tri(words, dtype=bool)
        visible = np.concatenate(
            [
                np.broadcast_to(before[:, None], (rows, words, before.shape[1])),
                np.broadcast_to(causal, (rows, words, words)),
            ],
            axis=-1,
        )
        self.seen = np.concatenate([before, np.ones((rows, words), dtype=bool)], axis=-1)
        return positions, np.where(visible, np.float32(0), UNSEEN)[:, None]

    def cut_back(self, lengths: np.ndarray) -> None:
        """Lets row i forget all but the first `lengths[i]` words that it remembers."""
        self.seen &= self.seen.cumsum(axis=-1) <= lengths[:, None]
