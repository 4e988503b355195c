"""Looks at `tokenizer.json` before the library `tokenizers` does: BERT's tokenizer and no other, of sane size."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ..checkpoint import read_small
from ..command_line import SHORT, InputError, explain
from .bounds import LARGEST_JSON

TOKENIZER = "tokenizer.json"
MOST_ADDED = 10_000
HIGHEST_ID = 10_000_000
LONGEST_WORD = 1000  # characters

Word = Annotated[str, Field(min_length=1, max_length=LONGEST_WORD)]
Id = Annotated[int, Field(ge=0, le=HIGHEST_ID)]


def _check_vocabulary(vocabulary: dict[str, Any]) -> dict[str, Any]:
    """By hand, and only until the first that is wrong, as there may be a million."""
    for word, number in vocabulary.items():
        if type(number) is not int or not 0 <= number <= HIGHEST_ID or len(word) > LONGEST_WORD:
            raise ValueError(f"{SHORT.repr(word)} has no place in a vocabulary, such as {SHORT.repr(number)}")
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
