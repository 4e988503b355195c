"""How a caption is chosen from the decoder's probabilities, whatever the runtime."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..command_line import InputError

LEAST_TEMPERATURE = 0.01


class Decoding(BaseModel):
    """Greedy by default; beam search with `beams` above 1; sampling with `temperature` above 0.

    Lengths count new tokens, without the prompt's and without the token that ends a caption. Bounds are those within
    which every runtime can compute, with float32 scores and 64-bit seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(
        default="", max_length=10_000, description="words that the caption starts with, such as «a picture of»"
    )
    max_new_tokens: int = Field(default=20, ge=1, le=500, description="longest caption in tokens, without the prompt")
    min_new_tokens: int = Field(default=0, ge=0, description="shortest caption in tokens, without the prompt")
    beams: int = Field(default=1, ge=1, le=64, description="beam width; 1 is greedy")
    # Below -1, the scores of long captions would pass the -1e9 that stands for «none yet» in transformers' search.
    length_penalty: float = Field(
        default=1.0, ge=-1, le=10, description="above 0 favors longer captions in beam search"
    )
    early_stopping: bool = Field(
        default=False, description="end beam search as soon as there are as many captions as beams"
    )
    repetition_penalty: float = Field(
        default=1.0, ge=0.01, le=100, description="above 1 makes repeated words less likely"
    )
    no_repeat_ngram: int = Field(
        default=0, ge=0, le=500, description="so many tokens in a row come once, with the prompt's; 0 lets them repeat"
    )
    banned_words: tuple[Annotated[str, Field(max_length=100)], ...] = Field(
        default=(), max_length=1000, description="words that no caption says, such as «araffe», or several in a row"
    )
    temperature: float = Field(
        default=0.0, ge=0, le=100, description="0 does not sample; 1 samples the model's own probabilities"
    )
    top_k: int = Field(default=0, ge=0, le=1_000_000, description="sample among the k likeliest tokens; 0 is all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="sample among the likeliest tokens that hold this share")
    drafts: int = Field(
        default=3, ge=0, le=15, description="guessed words that greedy decoding checks in one step; 0 guesses none"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the sampling")

    @field_validator("prompt")
    @classmethod
    def _normalize(cls, prompt: str) -> str:
        return " ".join(prompt.split())

    @field_validator("banned_words")
    @classmethod
    def _normalize_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        normal = tuple(" ".join(word.split()) for word in words)
        if "" in normal:
            raise ValueError("a banned word is blank: leave it out")
        return normal

    @field_validator("temperature")
    @classmethod
    def _check_temperature(cls, temperature: float) -> float:
        if 0 < temperature < LEAST_TEMPERATURE:
            raise ValueError(f"set it to 0, which does not sample, or to at least {LEAST_TEMPERATURE}")
        return temperature

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.temperature == 0 and (self.top_k > 0 or self.top_p < 1):
            raise ValueError("top_k and top_p choose among samples: set temperature above 0, for example to 1")
        if self.temperature > 0 and self.beams > 1:
            raise ValueError("beams and temperature exclude each other: set beams to 1 or temperature to 0")
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError("min_new_tokens is above max_new_tokens: make it at most equal")
        return self

    def exactly(self, new_tokens: int) -> Self:
        """The same decoding with neither fewer nor more new tokens, for timing."""
        return self.model_copy(update={"min_new_tokens": new_tokens, "max_new_tokens": new_tokens})


def check_room(decoding: Decoding, prompt_length: int, positions: int) -> None:
    """Raises InputError if a caption behind a prompt of so many tokens may need more positions than a decoder has."""
    room = positions - 1 - prompt_length
    if decoding.max_new_tokens > room:
        raise InputError(
            f"max_new_tokens is {decoding.max_new_tokens}, but this decoder has room for {room} behind the prompt: "
            "ask for fewer"
        )
