"""Guesses for untrained weights, whose captions no table can guess: their own, known beforehand, with mistakes."""

import random
from collections.abc import Callable, Sequence

from stages.captioner.runtimes.drafts import Drafts

# As on the demo: `guesses_right` in reports/quality/openvino_int8.json. Three guesses a step make 1.66 words of it.
RIGHT = 0.457


class Replay(Drafts):
    """Guesses how captions go on that are known, a share `RIGHT` of the words right."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[tuple[int, ...], list[int]]] = {}  # how captions go on, by request
        self.following: dict[tuple[int, ...], list[int]] = {}
        self.dice = random.Random(0)

    def expect(self, request: str, say: Callable[[], Sequence[Sequence[int]]]) -> None:
        """Guesses from now on what a request's captions are, which `say` gives where the request is new: token ids
        without those that begin and end them."""
        new = request not in self.known
        self.following = self.known.setdefault(request, {})
        for words in say() if new else ():
            self._know(words)

    def learn(self, words: Sequence[int]) -> None:
        """Takes in a caption's token ids, with the one that begins it, as it was said: many words of untrained weights
        are nearly as likely, and a step with guesses may round to others than one without."""
        self._know(words[1:])

    def _know(self, words: Sequence[int]) -> None:
        self.following |= {tuple(words[:place]): list(words[place:]) for place in range(len(words))}

    def guess(self, words: Sequence[int], most: int) -> list[int]:
        """The words that likely follow, at most so many, and fewer where the caption ends or is none of those known."""
        follow = self.following.get(tuple(words[1:]), [])[:most]
        return [word if self.dice.random() < RIGHT else abs(word - 1) for word in follow]
