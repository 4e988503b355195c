"""Reads `config.json`, and looks at the other files from which transformers takes what a checkpoint is."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from ..checkpoint import PROCESSOR_FILES, read_small
from ..command_line import SHORT, InputError, brief, explain
from .bounds import LARGEST_JSON
from .tokenizer import TOKENIZER

CONFIGURATION = "config.json"
# What transformers would read beside the files of a checkpoint, or in place of them, if they were there.
READ_BESIDE = (
    "added_tokens.json",
    "additional_chat_templates",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
# Under these, transformers finds files and code elsewhere.
ELSEWHERE = {"auto_map", "fast_tokenizer_files", "gguf_file", "merges_file", "tokenizer_file", "vocab_file"}
# Such as `_attn_implementation`, which may name a repository of a Hub.
IMPLEMENTATION = "implementation"
DEEPEST = 20

Width = Annotated[int, Field(ge=1, le=65_536)]
Layers = Annotated[int, Field(ge=1, le=200)]
Side = Annotated[int, Field(ge=1, le=4096)]


class TextConfiguration(BaseModel):
    """The text decoder's tokens and sizes, with bounds within which it can be built."""

    model_config = ConfigDict(frozen=True)

    bos_token_id: int = Field(ge=0)
    sep_token_id: int = Field(ge=0)
    pad_token_id: int = Field(ge=0)
    vocab_size: int = Field(ge=1, le=2_000_000)
    max_position_embeddings: int = Field(ge=1, le=100_000)
    hidden_size: Width
    intermediate_size: Width
    encoder_hidden_size: Width
    projection_dim: Width
    num_hidden_layers: Layers
    num_attention_heads: Width

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if max(self.bos_token_id, self.sep_token_id, self.pad_token_id) >= self.vocab_size:
            raise ValueError("a token is not in the vocabulary")
        return self


class VisionConfiguration(BaseModel):
    """The vision encoder's sizes, and how many patches each layer merges, if any does."""

    model_config = ConfigDict(frozen=True)

    image_size: Side
    patch_size: Side
    hidden_size: Width
    intermediate_size: Width
    projection_dim: Width
    num_hidden_layers: Layers
    num_attention_heads: Width
    merged_patches: list[Annotated[int, Field(ge=0)]] | None = Field(None, max_length=200)


class Configuration(BaseModel):
    """`config.json` in transformers' format, as far as anything here depends on it."""

    model_config = ConfigDict(frozen=True)

    text_config: TextConfiguration
    vision_config: VisionConfiguration
    projection_dim: Width
    image_text_hidden_size: Width


def read_configuration(checkpoint: Path) -> Configuration:
    """Reads a checkpoint's configuration. Raises InputError if it is not that of a BLIP of sane size."""
    path = checkpoint / CONFIGURATION
    try:
        return Configuration.model_validate_json(read_small(path, LARGEST_JSON))
    except ValidationError as error:
        raise InputError(f"{path} is not the configuration of a BLIP ({explain(error)}): rebuild it") from None


def inspect_for_transformers(checkpoint: Path) -> None:
    """Raises InputError unless all that transformers reads is there in one form and names nothing elsewhere."""
    for name in READ_BESIDE:
        if (checkpoint / name).exists():
            raise InputError(f"{checkpoint / name} is no part of a checkpoint, but would be read: rebuild it")
    for name in {CONFIGURATION, *PROCESSOR_FILES} - {TOKENIZER}:  # whose keys are words, and which has its own check
        path = checkpoint / name
        try:
            _check_keys(from_json(read_small(path, LARGEST_JSON)))
        except ValueError as error:
            raise InputError(f"{path} may not be opened ({brief(error)}): rebuild it") from None


def _check_keys(content: Any, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} objects lie within each other")
    values = content if isinstance(content, list) else []
    if depth == 0 and not isinstance(content, dict):
        raise ValueError("it is no object")
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ELSEWHERE or (IMPLEMENTATION in key and isinstance(value, str) and not value.isidentifier()):
                raise ValueError(f"{SHORT.repr(key)} names something elsewhere")
        values = list(content.values())
    for value in values:
        _check_keys(value, depth + 1)
