"""The command that signs a checkpoint: `blip-on-cpu-sign` once installed."""

from pathlib import Path
from typing import Annotated

import typer

from ..command_line import printable, run
from .signature import needs_password, sign


def main(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, such as models/openvino_int8")],
    key: Annotated[Path, typer.Option(help="your secret key, of blip-on-cpu-new-key or minisign -G")],
) -> None:
    """Signs a checkpoint that is whole; asks for the key's password if it has one."""
    password = typer.prompt(f"password of {key}", hide_input=True, err=True) if needs_password(key) else None
    print(printable(sign(checkpoint, key, password)))


def command() -> None:
    """Runs `main` with arguments from the command line."""
    run(main)


if __name__ == "__main__":
    command()
