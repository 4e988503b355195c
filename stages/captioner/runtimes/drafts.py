"""Guesses at a caption's next words, learned from captions, for the decoder to check several in one step.

What the decoder would not have said itself is dropped, so that guesses change times and no caption.
Source: J. Ou et al., Lossless Acceleration of Large Language Model via Adaptive N-gram Parallel Decoding, NAACL 2024.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from ..checkpoint import read_small
from ..command_line import InputError, explain
from ..inspection.configuration import TextConfiguration

DRAFTS = "drafts.json"
LARGEST_FILE = 1024**2  # bytes; 64 captions have 5 KB, and 5,000 have 400
CAPTIONS = TypeAdapter(list[list[NonNegativeInt]])
LONGEST_CONTEXT = 4  # words before the one that is guessed
# As many as some 20,000 captions have: what is learned while a process runs ends there.
MOST_CONTEXTS = 200_000
# Of a step's weight in the pace, at each further step of its kind: the last twenty or so count, a few captions.
KEPT = 0.95
TRIED_EVERY, TRIED_FIRST = 16, 3  # captions


class Drafts:
    """A table of the words that came most often behind up to `LONGEST_CONTEXT` others, the longest known ones first,
    and whether guessing by it pays."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.learning = True  # a table that is measured must not learn what it is measured by
        self.counts: dict[tuple[int, ...], dict[int, int]] = {}
        self.likeliest: dict[tuple[int, ...], int] = {}

    def learn(self, words: Sequence[int]) -> None:
        """Takes in a caption's token ids, with those that begin and end it."""
        if not self.learning or len(self.counts) > MOST_CONTEXTS:
            return
        for place in range(1, len(words)):
            word = words[place]
            for first in range(max(0, place - LONGEST_CONTEXT), place):
                context = tuple(words[first:place])
                counts = self.counts.setdefault(context, {})
                counts[word] = counts.get(word, 0) + 1
                if counts[word] >= counts.get(self.likeliest.get(context, word), 0):
                    self.likeliest[context] = word

    def guess(self, words: Sequence[int], most: int) -> list[int]:
        """The words that likely follow, at most so many, and fewer where none has ever followed."""
        said = list(words[-LONGEST_CONTEXT:])
        guesses: list[int] = []
        while len(guesses) < most:
            contexts = (tuple(said[first:]) for first in range(max(0, len(said) - LONGEST_CONTEXT), len(said)))
            word = next((self.likeliest[context] for context in contexts if context in self.likeliest), None)
            if word is None:
                break
            said.append(word)
            guesses.append(word)
        return guesses


class Steps(NamedTuple):
    """What guesses bring: the words of captions, the steps that it takes to say them, and of the guesses that were
    looked at, up to the first wrong one of a step, how many there were and were right."""

    words: int
    steps: int
    guesses: int
    right: int


def count_steps(drafts: Drafts, captions: Iterable[Sequence[int]], given: int, most: int) -> Steps:
    """Counts what greedy decoding would take for captions, token ids with those that begin and end them, if it checked
    up to so many guesses a step. The first `given` tokens of each are no words of its own."""
    counts = Counter[str]()
    for words in captions:
        place = given
        counts["words"] += len(words) - given
        while place < len(words):
            guesses = drafts.guess(words[:place], min(most, len(words) - place - 1))
            right = [guess == word for guess, word in zip(guesses, words[place:], strict=False)]
            accepted = right.index(False) if False in right else len(right)
            counts.update(steps=1, right=accepted, guesses=accepted + (False in right))
            place += accepted + 1
    return Steps(*(counts[name] for name in Steps._fields))


class Pace:
    """Whether steps with guesses say more words a second than steps of one word, on this CPU, of these captions.

    Measured while captioning, so that opening takes no longer. Every few captions go the other way, as times change.
    """

    def __init__(self) -> None:
        self.captions = 0
        self.seconds, self.words = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}

    def is_guessing_next(self) -> bool:
        """Whether the next caption is to be guessed at; asked once for each."""
        self.captions += 1
        pays = self.seconds[True] * self.words[False] <= self.seconds[False] * self.words[True]
        return pays != (self.captions % TRIED_EVERY == TRIED_FIRST)

    def add(self, guessed: bool, seconds: float, words: int) -> None:
        """Takes in a step: whether it had guesses, and how many words it said in how long. Earlier ones fade."""
        self.seconds[guessed] = KEPT * self.seconds[guessed] + seconds
        self.words[guessed] = KEPT * self.words[guessed] + words


def read_drafts(checkpoint: Path, configuration: TextConfiguration) -> Drafts | None:
    """The table of a checkpoint's captions, if it has some: a list of each one's token ids, without those that begin
    and end it. Raises InputError if the file is of another form or has tokens that the vocabulary lacks."""
    path = checkpoint / DRAFTS
    if not path.exists():
        return None
    try:
        captions = CAPTIONS.validate_json(read_small(path, LARGEST_FILE))
    except ValidationError as error:
        raise InputError(f"{path} holds no captions ({explain(error)}): rebuild it") from None
    if any(token >= configuration.vocab_size for caption in captions for token in caption):
        raise InputError(f"{path} has a token outside of the vocabulary: rebuild it")
    drafts = Drafts()
    for caption in captions:
        drafts.learn([configuration.bos_token_id, *caption, configuration.sep_token_id])
    return drafts
