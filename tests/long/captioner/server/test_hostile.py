"""Clients that are slow, endless, gone, or a thousand."""

import asyncio
import json
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from stages.captioner.server.application import BODY_SECONDS
from stages.captioner.server.connections import HEADER_SECONDS, KEEP_ALIVE_SECONDS, MOST_CONNECTIONS
from tests.captioner.server.servers import Server, ask, chat, figure, serving
from tests.captioner.server.test_application import PATH, UNDER_WAY, begun, head, until
from tests.conftest import Build

CLIENTS = 1000


@pytest.fixture(scope="module")
def checkpoint(build: Build) -> Path:
    return build("onnx")


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[Server]:
    with serving(checkpoint) as running:
        yield running
        assert running.process.poll() is None, "it has lived through all of this"
        assert "Traceback" not in os.pread(running.said, 1_000_000, 0).decode()


@pytest.fixture(scope="module")
def body() -> bytes:
    return json.dumps(chat(Image.new("RGB", (128, 128), (200, 30, 30)))).encode()


def connect(server: Server) -> socket.socket:
    host, _, port = server.place.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=2 * BODY_SECONDS)


def seconds_until_closed(connection: socket.socket, sent: bytes = b"") -> float:
    """While a byte is sent every half second."""
    started = time.monotonic()
    connection.settimeout(0.5)
    while time.monotonic() - started < 3 * BODY_SECONDS:
        try:
            if sent:
                connection.sendall(sent)
            if not connection.recv(10_000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("start", [b"", b"POST / HTTP/1.1\r\nX: "])
def test_headers_that_never_end_are_cut_off(server: Server, start: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(start)
        assert seconds_until_closed(connection, b"a" if start else b"") < HEADER_SECONDS + 5


def test_a_second_request_may_not_take_its_time_either(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {server.place}\r\n\r\n".encode())
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        assert seconds_until_closed(connection, b"a") < KEEP_ALIVE_SECONDS + HEADER_SECONDS + 5


def test_headers_of_any_size_are_refused(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError):
            for _ in range(10_000):
                connection.sendall(b"X: " + b"a" * 1000 + b"\r\n")
    assert ask(server, "GET", "/healthz").status == 200


def test_a_body_that_trickles_is_given_up(server: Server, body: bytes) -> None:
    with begun(server, body, 10) as connection:
        started = time.monotonic()
        connection.settimeout(0.5)
        received = b""
        while not received and time.monotonic() - started < 2 * BODY_SECONDS:
            try:
                connection.sendall(b" ")
                received = connection.recv(1000)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < BODY_SECONDS + 5
    until(server, UNDER_WAY, 0)


def test_an_endless_body_behind_a_refusal_is_not_read_for_ever(server: Server) -> None:
    with connect(server) as connection:
        start = f"POST /none HTTP/1.1\r\nHost: {server.place}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(start.encode())
        assert seconds_until_closed(connection, b"1\r\na\r\n") < KEEP_ALIVE_SECONDS + HEADER_SECONDS + 5


def test_who_hangs_up_frees_the_place(server: Server, body: bytes) -> None:
    for _ in range(10):
        for sent in (10, len(body)):
            with begun(server, body, sent):
                pass
    until(server, UNDER_WAY, 0)
    assert ask(server, "POST", PATH, body).status == 200


async def one_of_many(server: Server, body: bytes) -> str:
    """The status that a client among many gets, or that it was hung up on."""
    host, _, port = server.place.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(server, len(body)) + body)
        line = await asyncio.wait_for(reader.readline(), 120)
        writer.close()
        return line[9:12].decode() or "closed"
    except OSError:
        return "closed"


async def all_at_once(server: Server, body: bytes) -> Counter[str]:
    return Counter(await asyncio.gather(*(one_of_many(server, body) for _ in range(CLIENTS))))


def test_a_thousand_at_once_are_answered_or_turned_away(server: Server, body: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CLIENTS + 200:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CLIENTS + 200), hard))
    try:
        found = asyncio.run(all_at_once(server, body))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.keys() <= {"200", "503", "closed"} and found["200"] >= 1, found
    until(server, UNDER_WAY, 0)
    assert ask(server, "POST", PATH, body).status == 200
    assert figure(server, 'blip_batch_pictures_bucket{le="1.0"}') < figure(server, "blip_batch_pictures_count")


def test_connections_are_bounded_in_number(server: Server) -> None:
    held = [connect(server) for _ in range(MOST_CONNECTIONS + 50)]
    try:
        time.sleep(1)
        there = [
            one for one in psutil.Process(server.process.pid).net_connections("tcp") if one.status == "ESTABLISHED"
        ]
        assert len(there) <= MOST_CONNECTIONS + 1
    finally:
        for connection in held:
            connection.close()
    for _ in range(100):
        try:
            assert ask(server, "GET", "/healthz").status == 200
            return
        except (OSError, AssertionError):
            time.sleep(0.1)
    raise AssertionError("it doesn't recover")


def test_pictures_that_ask_for_much_memory_take_none_that_stays(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    large = json.dumps(chat(Image.new("L", (8000, 7999)))).encode()
    assert ask(server, "POST", PATH, large).status == 200
    before = process.memory_info().rss
    for _ in range(5):
        assert ask(server, "POST", PATH, large).status == 200
    assert process.memory_info().rss < before + 400e6
