"""The options of commands that caption by which words are chosen: those of the checkpoint unless they are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ..checkpoint import read_manifest
from ..command_line import InputError, explain
from ..runtimes.decoding import Decoding

Prompt = Annotated[str | None, typer.Option(help="words that every caption starts with")]
MaxNewTokens = Annotated[int | None, typer.Option(help="longest caption in tokens, without the prompt")]
MinNewTokens = Annotated[int | None, typer.Option(help="shortest caption in tokens, without the prompt")]
Beams = Annotated[int | None, typer.Option(help="beam width; 1 is greedy")]
LengthPenalty = Annotated[float | None, typer.Option(help="above 0 favors long captions in beam search")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="above 1 makes repeated words unlikely")]
NoRepeatNgram = Annotated[int | None, typer.Option(help="so many tokens in a row come only once; 0: any")]
BannedWords = Annotated[
    list[str] | None, typer.Option("--banned-word", help="what no caption says; may be given several times")
]
Temperature = Annotated[float | None, typer.Option(help="0 does not sample")]
TopK = Annotated[int | None, typer.Option(help="sample among the k likeliest tokens; 0 is all")]
TopP = Annotated[float | None, typer.Option(help="sample among the likeliest that hold this share")]
Seed = Annotated[int | None, typer.Option(help="seed of the sampling")]


def chosen_decoding(checkpoint: Path, options: Mapping[str, Any]) -> Decoding:
    """A checkpoint's own decoding, with those of a command's options that are given and mean one of its settings.

    Raises InputError if it is no checkpoint, or these settings don't go together.
    """
    given = {name: value for name, value in options.items() if name in Decoding.model_fields and value is not None}
    own = read_manifest(checkpoint).decoding
    try:
        return Decoding.model_validate(own.model_dump() | given)
    except ValidationError as error:
        raise InputError(explain(error)) from None
