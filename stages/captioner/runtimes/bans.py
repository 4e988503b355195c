"""What a caption may not say: words that are banned, and sequences of words that it has said already.

Bans are those of transformers' NoBadWordsLogitsProcessor and NoRepeatNGramLogitsProcessor: what would complete such a
sequence can't come next. The prompt's words, and the token before them, count as said.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tokenizers import Tokenizer

from ..command_line import InputError
from .decoding import Decoding


def banned_tokens(
    decoding: Decoding, tokenizer: Tokenizer, tokenize: Callable[[str], list[int]], given: int
) -> list[list[int]]:
    """The token ids of each banned word, without the words that the vocabulary lacks and no caption can say.

    Raises InputError if the bans may leave nothing to say behind `given` tokens.
    """
    if not decoding.banned_words and not decoding.no_repeat_ngram:
        return []
    unknown = tokenizer.token_to_id(tokenizer.model.unk_token)
    sequences = [tokens for tokens in map(tokenize, decoding.banned_words) if tokens and unknown not in tokens]
    gone = len({tokens[-1] for tokens in sequences})
    if decoding.no_repeat_ngram:
        gone += given + decoding.min_new_tokens  # all that was said before the end may come
    # Counting a vocabulary takes long, and few bans leave words in a large one.
    if 2 * gone >= tokenizer.get_vocab_size(with_added_tokens=False) and gone >= _count_words(tokenizer):
        raise InputError("banned_words and no_repeat_ngram leave no words to say: ban fewer")
    return sequences


def _count_words(tokenizer: Tokenizer) -> int:
    """How many words a vocabulary has, without `[PAD]` and the like, which no text has."""
    words = tokenizer.get_vocab(with_added_tokens=False)
    return sum(not (word.startswith("[") and len(word) > 1) for word in words)


def by_length(sequences: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Sequences of tokens, those of one length together: int64 (1, sequences, length)."""
    alike = groupby(sorted(sequences, key=len), key=len)
    return [np.array([list(own)], dtype=np.int64) for _, own in alike]


def forbid(scores: np.ndarray, words: np.ndarray, ngram: int, banned: Sequence[np.ndarray]) -> None:
    """Makes the words impossible, in place, that would complete a banned sequence or, if `ngram` is above 0, so many
    words that a row has said already.

    Takes scores, float32 (rows, vocabulary), what the rows have said, int64 (rows, words), and what `by_length` makes
    of banned sequences.
    """
    if 0 < ngram <= words.shape[1]:
        _forbid_last(scores, words, sliding_window_view(words, ngram, axis=1))
    for sequences in banned:
        if sequences.shape[-1] <= words.shape[1] + 1:
            _forbid_last(scores, words, sequences)


def _forbid_last(scores: np.ndarray, words: np.ndarray, sequences: np.ndarray) -> None:
    """Forbids the last word of each sequence, int64 (rows or 1, sequences, length), whose others a row ends with."""
    before = sequences.shape[-1] - 1
    said = words[:, None, words.shape[1] - before :]
    rows, places = np.nonzero((sequences[..., :-1] == said).all(axis=-1))
    lasts = np.broadcast_to(sequences[..., -1], (len(words), sequences.shape[1]))
    scores[rows, lasts[rows, places]] = -np.inf
