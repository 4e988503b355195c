"""Guesses for untrained weights, whose captions no table can guess: their own, known beforehand, with mistakes."""

import random
from collections.abc import Sequence

from stages.captioner.runtimes.drafts import Drafts

# As on the demo: `guesses_right` in reports/quality/openvino_int8.json. Three guesses a step make 1.66 words of it.
RIGHT = 0.457


class Replay(Drafts):
    """Guesses how captions go on that are known, a share `RIGHT` of the words right."""

    def __init__(self) -> None:
        super().__init__()
        self.learning = False
        self.said: dict[str, list[list[int]]] = {}  # of each request, what `expect` takes
        self.following: dict[tuple[int, ...], list[int]] = {}
        self.dice = random.Random(0)

    def expect(self, captions: Sequence[Sequence[int]]) -> None:
        """Takes in the captions that come next, token ids without those that begin and end them, and forgets others."""
        self.following = {
            tuple(words[:place]): list(words[place:]) for words in captions for place in range(len(words))
        }

    def guess(self, words: Sequence[int], most: int) -> list[int]:
        """The words that likely follow, at most so many, and fewer where the caption ends or is none of those known."""
        follow = self.following.get(tuple(words[1:]), [])[:most]
        return [word if self.dice.random() < RIGHT else abs(word - 1) for word in follow]
