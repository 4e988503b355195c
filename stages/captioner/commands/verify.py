"""The command that tells whether a checkpoint is whole, and who made it: `blip-on-cpu-verify` once installed."""

from pathlib import Path
from typing import Annotated

import typer

from ..command_line import printable, run
from .signature import verify


def main(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, such as models/openvino_int8")],
    key: Annotated[Path | None, typer.Option(help="the public key of who should have made it")] = None,
) -> None:
    """Checks every file of a checkpoint without opening it and, with a key, that its owner signed it."""
    comment = verify(checkpoint, key)
    signed = f", signed by the owner of {key} ({comment})" if key else ""
    print(printable(f"{checkpoint}: whole{signed}"))


def command() -> None:
    """Runs `main` with arguments from the command line."""
    run(main)


if __name__ == "__main__":
    command()
