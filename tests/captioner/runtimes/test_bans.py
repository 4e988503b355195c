"""What a caption may not say: by rule as transformers has it, and through every runtime."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers.generation.logits_process import NoBadWordsLogitsProcessor, NoRepeatNGramLogitsProcessor

from stages.captioner import Decoding, InputError, open_captioner
from stages.captioner.runtimes.bans import banned_tokens, by_length, forbid
from tests.conftest import DEMO, Build

RUNTIMES = ["quantized", "onnx_int8", "openvino_int8"]  # a checkpoint for each
TOKENS = 7
WORDS = ["[PAD]", "[unused0]", "[UNK]", "a", "ara", "##ffe", "##fed", "cat", "[", "]", "un", "##k"]


@given(
    rows=st.integers(1, 4),
    length=st.integers(1, 12),
    seed=st.integers(0, 1000),
    ngram=st.integers(0, 4),
    banned=st.lists(st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=4), max_size=5),
)
def test_what_is_forbidden_is_what_transformers_forbids(
    rows: int, length: int, seed: int, ngram: int, banned: list[list[int]]
) -> None:
    dice = np.random.default_rng(seed)
    words, scores = dice.integers(0, TOKENS, (rows, length)), dice.normal(size=(rows, TOKENS)).astype(np.float32)
    said, expected = torch.from_numpy(words), torch.from_numpy(scores.copy())
    if ngram:
        expected = NoRepeatNGramLogitsProcessor(ngram)(said, expected)
    if banned:
        expected = NoBadWordsLogitsProcessor(banned)(said, expected)
    forbid(scores, words, ngram, by_length(banned))
    np.testing.assert_array_equal(scores, expected.numpy())


def tokenizer() -> Tokenizer:
    """One that parts words into pieces."""
    own = Tokenizer(WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    own.add_special_tokens(["[PAD]", "[UNK]"])
    own.encode_special_tokens = True
    return own


def tokens_of(*banned: str, given: int = 1, **more: int) -> list[list[str]]:
    own = tokenizer()
    decoding = Decoding(banned_words=banned, **more)
    found = banned_tokens(decoding, own, lambda text: own.encode(text, add_special_tokens=False).ids, given)
    return [[WORDS[token] for token in sequence] for sequence in found]


def test_words_are_banned_in_any_letters_piece_by_piece() -> None:
    found = tokens_of("CAT", "a  cat", "Araffé", "ArAfEd")
    assert found == [["cat"], ["a", "cat"], ["ara", "##ffe"], ["ara", "##fed"]]


def test_what_no_caption_can_say_need_not_be_banned() -> None:
    assert tokens_of("zebra", "a zebra", "\u200b", "日本") == []
    assert tokens_of("[UNK]") == [["[", "un", "##k", "]"]]
    assert tokens_of() == []


@pytest.mark.parametrize(
    ("banned", "settings"),
    [
        (("a", "ara", "cat", "[", "]", "un", "araffe", "arafed", "unk"), {}),
        (("a", "ara", "cat", "[", "]", "un", "araffe"), {"no_repeat_ngram": 2, "min_new_tokens": 1}),
        ((), {"no_repeat_ngram": 1, "min_new_tokens": 8}),
    ],
)
def test_bans_must_leave_something_to_say(banned: tuple[str, ...], settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="leave no words to say: ban fewer"):
        tokens_of(*banned, **settings)
    assert len(tokens_of(*banned[1:], **settings | {"min_new_tokens": 0})) == len(banned[1:])


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(
    "decoding", [Decoding(max_new_tokens=9), Decoding(beams=3, max_new_tokens=9)], ids=["greedy", "beams"]
)
def test_what_is_banned_is_said_no_more(
    name: str, decoding: Decoding, build: Build, pictures: list[Image.Image]
) -> None:
    def words(**settings: object) -> list[str]:
        own = Decoding.model_validate(decoding.model_dump() | settings)
        return captioner.caption(pictures[:1], own)[0].split()

    with open_captioner(build(name), threads=1) as captioner:
        said = words()
        word = next(filter(str.isalpha, said))
        pair = next(pair for pair in pairwise(said) if all(map(str.isalpha, pair)))
        assert word not in words(banned_words=[word.upper()])
        assert pair not in [*pairwise(words(banned_words=[" ".join(pair)]))]
        without_repeats = words(no_repeat_ngram=1)
        assert len(set(without_repeats)) == len(without_repeats)


@pytest.mark.parametrize("name", RUNTIMES)
def test_everything_banned_is_one_sentence(name: str, build: Build, pictures: list[Image.Image]) -> None:
    words = [word for word in (DEMO / "vocab.txt").read_text(encoding="utf-8").split() if word[0] != "["]
    with open_captioner(build(name), threads=1) as captioner:
        for decoding in (Decoding(), Decoding(beams=3), Decoding(temperature=1), Decoding(min_new_tokens=3)):
            with pytest.raises(InputError, match="banned_words and no_repeat_ngram leave no words to say: ban fewer"):
                captioner.caption(pictures, decoding.model_copy(update={"banned_words": tuple(words)}))
