"""The command that captions an archive, on this machine or a cluster: `blip-on-cpu-corpus` once installed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..command_line import InputError, brief, printable, run
from .decoding_options import (
    BannedWords,
    Beams,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    NoRepeatNgram,
    Prompt,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    chosen_decoding,
)


def main(
    checkpoint: Annotated[Path, typer.Option(help="a checkpoint directory, such as models/fastest")],
    images: Annotated[str, typer.Option(help="a folder, a list, a glob, tars or Parquet, here or at s3://…")],
    output: Annotated[str, typer.Option(help="a folder for the captions, here or at s3://…")],
    column: Annotated[str | None, typer.Option(help="of Parquet files: what holds pictures' bytes or paths")] = None,
    address: Annotated[str | None, typer.Option(help="a Ray cluster, as host:port; else this machine alone")] = None,
    logs: Annotated[str | None, typer.Option(help="a folder for Ray's logs, which else vanish at the end")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a worker; by default tried out")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="pictures captioned at once; tried out, too")] = None,
    prompt: Prompt = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram: NoRepeatNgram = None,
    banned_words: BannedWords = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
) -> None:
    """Captions an archive of pictures into Parquet files. Stopped at any moment, the same command goes on."""
    decoding = chosen_decoding(checkpoint, locals())
    try:
        from ..corpus.archive import Asked, caption_archive
    except ImportError as error:
        raise InputError(
            f"archives can't be captioned here ({brief(error)}): install blip-on-cpu with its extra [corpus]"
        ) from None
    asked = Asked(checkpoint, images, output, decoding, column, threads, batch_size, address, logs)
    try:
        written, counts = caption_archive(asked)
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on", file=sys.stderr)
        raise
    print(
        printable(
            f"{written.captions}: {counts.whole + counts.cut_off:,} pictures captioned, {counts.cut_off:,} of them cut "
            f"off, and {counts.broken:,} that can't be opened"
        )
    )


def command() -> None:
    """Runs `main` with arguments from the command line."""
    run(main)


if __name__ == "__main__":
    command()
