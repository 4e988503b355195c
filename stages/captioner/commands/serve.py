"""The command that captions pictures for other programs, over HTTP: `blip-on-cpu-serve` once installed."""

from pathlib import Path
from typing import Annotated

import typer

from ..command_line import InputError, run


def main(
    checkpoint: Annotated[Path, typer.Option(help="a checkpoint directory, such as models/openvino_int8")],
    host: Annotated[str, typer.Option(help="address to serve at; any but loopback needs a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one, which is printed")] = 8080,
    token_file: Annotated[Path | None, typer.Option(help="file with the token that each request must bring")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="a name under which programs reach this server; may be repeated")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=32, help="pictures captioned at once, at most")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per usable core")] = None,
    prompt_as_prefix: Annotated[
        bool, typer.Option("--prompt-as-prefix", help="captions begin with the request's text")
    ] = False,
) -> None:
    """Answers OpenAI's, Ollama's and PhotoPrism's requests with captions, until SIGTERM or Ctrl-C."""
    try:
        from ..server.guard import in_url, read_token
        from ..server.running import Settings, serve
    except ModuleNotFoundError as error:
        raise InputError(f"serving needs {error.name}: install blip-on-cpu with its extra [server]") from None
    token = read_token(token_file) if token_file else None
    names = frozenset(in_url(name.strip("[]")) for name in allow_host or [])
    serve(Settings(checkpoint, host, port, token, names, batch_size, threads, prompt_as_prefix))


def command() -> None:
    """Runs `main` with arguments from the command line."""
    run(main)


if __name__ == "__main__":
    command()
