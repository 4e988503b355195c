"""Looks at `tokenizer.json` before the library `tokenizers` does: BERT's tokenizer and no other, of sane size."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ..checkpoint import read_small
from ..command_line import InputError, explain
from .bounds import LARGEST_JSON

TOKENIZER = "tokenizer.json"
MOST_ADDED = 10_000
HIGHEST_ID = 10_000_000
LONGEST_WORD = 1000  # characters

Word = Annotated[str, Field(min_length=1, max_length=LONGEST_WORD)]
Id = Annotated[int, Field(ge=0, le=HIGHEST_ID)]


def _check_vocabulary(vocabulary: dict[str, Any]) -> dict[str, Any]:
    """As a whole, since there may be a million words, and with each of them something wrong."""
    numbers = vocabulary.values()
    if not vocabulary or set(map(type, numbers)) != {int} or min(numbers) < 0 or max(numbers) > HIGHEST_ID:
        raise ValueError(f"its {len(vocabulary)} words have no numbers from 0 to {HIGHEST_ID}")
    if max(map(len, vocabulary)) > LONGEST_WORD:
        raise ValueError(f"a word is longer than {LONGEST_WORD} characters")
    return vocabulary


class _Normalizer(BaseModel):
    type: Literal["BertNormalizer"]


class _PreTokenizer(BaseModel):
    type: Literal["BertPreTokenizer"]


class _PostProcessor(BaseModel):
    type: Literal["TemplateProcessing", "BertProcessing"]


class _Decoder(BaseModel):
    type: Literal["WordPiece"]
    prefix: str = Field(max_length=LONGEST_WORD)


class _AddedToken(BaseModel):
    id: Id
    content: Word


class _WordPiece(BaseModel):
    type: Literal["WordPiece"]
    unk_token: Word
    continuing_subword_prefix: str = Field(max_length=LONGEST_WORD)
    max_input_chars_per_word: int = Field(ge=1, le=LONGEST_WORD)
    vocab: Annotated[dict[str, Any], AfterValidator(_check_vocabulary)]


class _Tokenizer(BaseModel):
    """Parts of other kinds could hold patterns that take forever, or make the library end the process."""

    version: Literal["1.0"]
    added_tokens: Annotated[list[Any], Field(max_length=MOST_ADDED)]
    normalizer: _Normalizer | None
    pre_tokenizer: _PreTokenizer
    post_processor: _PostProcessor | None
    decoder: _Decoder
    model: _WordPiece


class _AddedTokens(BaseModel):
    added_tokens: list[_AddedToken]


def inspect_tokenizer(checkpoint: Path) -> None:
    """Raises InputError if a checkpoint's tokenizer is not BERT's, or of absurd size."""
    path = checkpoint / TOKENIZER
    try:
        tokenizer = _Tokenizer.model_validate_json(read_small(path, LARGEST_JSON))
        _AddedTokens(added_tokens=tokenizer.added_tokens)
    except ValidationError as error:
        raise InputError(f"{path} is not a tokenizer of BLIP ({explain(error)}): rebuild it") from None
