"""Connections, bounded in number and in the time that a request may take to begin, which uvicorn leaves open."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEADER_SECONDS = 10  # from a connection's start, or from the end of its idle time, to the end of a request's headers
KEEP_ALIVE_SECONDS = 5
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedConnection(H11Protocol):
    """One client's connection. By h11, whose headers are bounded too, where httptools takes any number of them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accepts a connection, or answers that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(TOO_MANY)
            transport.close()
        else:
            self._expect_request(HEADER_SECONDS)

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        self._expect_request(KEEP_ALIVE_SECONDS + HEADER_SECONDS)

    def _expect_request(self, seconds: float) -> None:
        self.loop.call_later(seconds, self._end_unless_newer, self.cycle)

    def _end_unless_newer(self, request: Any) -> None:
        """Ends the connection if no request has begun since this one."""
        if self.cycle is request:
            self.transport.abort()
