"""Runs the server: an address, a checkpoint, and an end that finishes what is under way."""

import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from tokenizers import Tokenizer

from ..command_line import InputError, brief, printable
from ..own_process import open_in_own_process
from ..runtimes.cores import usable_cores
from .application import application
from .batching import Batcher
from .connections import KEEP_ALIVE_SECONDS, BoundedConnection
from .guard import LOOPBACK, Access, in_url, is_loopback
from .metrics import Metrics
from .models import describe
from .pictures import limit_pixels
from .service import Service

LAST_SECONDS = 60  # to finish what is under way; a client may be too slow for any


class Settings(NamedTuple):
    """What a server is started with."""

    checkpoint: Path
    host: str
    port: int
    token: bytes | None
    names: frozenset[str]  # under which it is reached besides
    batch_size: int
    threads: int | None
    prompt_as_prefix: bool


def serve(settings: Settings) -> None:
    """Answers requests until SIGTERM or SIGINT. Raises InputError if the address or the checkpoint can't be used, or if
    others could reach the address without a token."""
    if settings.token is None and not is_loopback(settings.host):
        raise InputError(
            f"others may reach {printable(settings.host)}: name a --token-file, or serve on 127.0.0.1 alone"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        bound(settings.host, settings.port) as listener,
        open_in_own_process(settings.checkpoint, settings.threads) as captioner,
    ):
        limit_pixels()
        metrics = Metrics()
        batcher = Batcher(captioner, settings.batch_size, metrics.batches.observe)
        with ThreadPoolExecutor(usable_cores(), "pictures") as pool, batcher as captions:
            service = Service(
                model=describe(settings.checkpoint),
                own=captioner.decoding,
                prompt_as_prefix=settings.prompt_as_prefix,
                captions=captions,
                pool=pool,
                tokenizer=Tokenizer.from_file(str(settings.checkpoint / "tokenizer.json")),
                metrics=metrics,
            )
            names = LOOPBACK | settings.names | {in_url(settings.host)}
            _run(application(service, Access(names, settings.token)), listener)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, to which nobody can connect yet. Raises InputError if the system doesn't give it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:  # the latter of a name that can't be one
        raise InputError(
            f"can't serve at {printable(host)}, port {port} ({brief(error)}): choose another --host or --port"
        ) from None
    return listener


def _run(app: Starlette, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # as anybody can make it log less than errors, without end
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    host, port, *_ = listener.getsockname()
    listener.listen(config.backlog)
    print(f"serving at http://{in_url(host)}:{port}", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listener])
