"""Who may ask: by the address that the request was sent to, the page that sent it, and a token.

A page that a browser shows can make it send requests to loopback, and, with a name of its own that it lets point there,
read the answers (DNS rebinding). So the Host must be a known one, and an Origin the server's own.
"""

import hmac
import ipaddress
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..checkpoint import read_small
from ..command_line import InputError
from .errors import error_response

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.IGNORECASE)
TOKEN = re.compile(rb"[!-~]{16,1000}")
LARGEST_TOKEN_FILE = 4096  # bytes
ALIVE = "/healthz"  # says nothing but that, so to anybody, such as a container's health check


class Access(NamedTuple):
    """The hosts that a request may name, in small letters and without a port, and the token that it must bring."""

    hosts: frozenset[str]
    token: bytes | None


def read_token(file: Path) -> bytes:
    """The token in a file. Raises InputError if others than its owner may read the file, or it holds no good token."""
    content = read_small(file, LARGEST_TOKEN_FILE).strip()
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise InputError(f"{file} holds a token that others may read or change: chmod 600 it")
    if not TOKEN.fullmatch(content):
        raise InputError(
            f"{file} must hold one token of 16 to 1000 printable ASCII characters without spaces: make one with "
            "openssl rand -hex 32"
        )
    return content


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    """An address as it stands in a URL and in the header Host."""
    return (f"[{host}]" if ":" in host else host).lower()


class Guard:
    """Lets those requests through to an application that may ask, and answers the others."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's start and end."""
        refused = None
        if scope["type"] == "http" and scope["path"] != ALIVE:
            refused = refusal(Headers(scope=scope), self.access)
        if refused is None:
            await self.app(scope, receive, send)
            return
        status, sentence = refused
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        await error_response(scope["path"], status, sentence, headers)(scope, receive, send)


def refusal(headers: Headers, access: Access) -> tuple[int, str] | None:
    """The status and the sentence with which a request is refused; None if it is not."""
    host = headers.get("host", "")
    found = HOST.fullmatch(host)
    if found is None or found[1].lower() not in access.hosts:
        return 403, "this server isn't known by the name in the header Host: start it with --allow-host and that name"
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return 403, "pages of other origins may not ask this server"
    if access.token is not None and not _has_token(headers.get("authorization", ""), access.token):
        return 401, "the header Authorization must be Bearer and the token that this server was started with"
    return None


def _has_token(authorization: str, token: bytes) -> bool:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token)
