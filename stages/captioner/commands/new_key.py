"""The command that makes a pair of keys to sign checkpoints with: `blip-on-cpu-new-key` once installed."""

from pathlib import Path
from typing import Annotated

import typer

from ..command_line import printable, run
from .signature import make_keys


def main(key: Annotated[Path, typer.Argument(help="where to put the secret key; the public one ends in .pub")]) -> None:
    """Makes a secret key, to keep to yourself, and a public key, for those who use your checkpoints."""
    password = typer.prompt(
        "a password for it, or none",
        default="",
        show_default=False,
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    print(printable(make_keys(key, password)))


def command() -> None:
    """Runs `main` with arguments from the command line."""
    run(main)


if __name__ == "__main__":
    command()
