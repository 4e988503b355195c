"""The server's own manners: places, sizes, statuses, figures, and its end."""

import base64
import io
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from stages.captioner.server.application import APIS, LARGEST_BODY
from stages.captioner.server.service import MOST_UNDER_WAY
from tests.captioner.server.servers import Server, alone, ask, chat, figure, serving

PATH = "/v1/chat/completions"
UNDER_WAY = "blip_requests_under_way"
CUT = "blip_pictures_cut_off_total"


def head(server: Server, length: int) -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nHost: {server.place}\r\nContent-Length: {length}\r\n\r\n".encode()


@contextmanager
def begun(server: Server, body: bytes, sent: int) -> Iterator[socket.socket]:
    """A request of which only so many bytes of the body are sent."""
    host, _, port = server.place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head(server, len(body)) + body[:sent])
        yield connection


def until(server: Server, name: str, value: float) -> None:
    for _ in range(200):
        if figure(server, name) == value:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} is {figure(server, name)} and not {value}")


def test_who_finds_no_place_is_told_when_to_try_again(server: Server, pictures: list[Image.Image]) -> None:
    body = json.dumps(chat(pictures[0])).encode()
    with ExitStack() as stack:
        for _ in range(MOST_UNDER_WAY):
            stack.enter_context(begun(server, body, 10))
        until(server, UNDER_WAY, MOST_UNDER_WAY)
        answer = ask(server, "POST", PATH, body)
        assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
        assert answer.json["error"]["type"] == "server_error"
        assert ask(server, "GET", "/healthz").status == 200
    until(server, UNDER_WAY, 0)
    assert ask(server, "POST", PATH, body).status == 200


def test_bodies_are_counted_while_they_are_read(server: Server) -> None:
    host, _, port = server.place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        start = f"POST {PATH} HTTP/1.1\r\nHost: {server.place}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(start.encode())
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(LARGEST_BODY // 0x100000 + 1):
            connection.sendall(chunk)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    until(server, UNDER_WAY, 0)


@pytest.mark.parametrize("path", APIS)
def test_a_picture_that_was_cut_off_is_captioned_and_the_answer_says_so(path: str, server: Server) -> None:
    jpeg = io.BytesIO()
    Image.effect_mandelbrot((900, 600), (-2, -1, 1, 1), 100).save(jpeg, "JPEG")
    before, shares = figure(server, CUT), []
    for content in (jpeg.getvalue(), jpeg.getvalue()[: len(jpeg.getvalue()) // 2]):
        text = base64.b64encode(content).decode()
        url = f"data:image/jpeg;base64,{text}"
        parts = [{"type": "input_image", "image_url": url}]
        bodies = {
            PATH: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]},
            "/v1/responses": {"input": [{"role": "user", "content": parts}]},
            "/api/generate": {"images": [text]},
            "/api/chat": {"messages": [{"role": "user", "images": [text]}]},
            "/api/v1/vision/caption": {"images": [url]},
        }
        answer = ask(server, "POST", path, {"model": "blip", **bodies[path]})
        assert answer.status == 200, answer.body
        shares.append(answer.headers.get("x-cut-off"))
    whole, cut = shares
    assert whole is None
    assert 0 < float(cut or 0) < 1
    assert figure(server, CUT) == before + 1


def test_forms_and_other_paths_and_methods_are_refused(server: Server) -> None:
    assert ask(server, "POST", PATH, b"--x", Content_Type="multipart/form-data; boundary=x").status == 415
    assert ask(server, "GET", PATH).status == 405
    for path, said in (("/v1/none", dict), ("/api/none", str), ("/none", str)):
        answer = ask(server, "GET", path)
        assert answer.status == 404 and isinstance(answer.json["error"], said)


def test_it_counts_what_it_answers(server: Server, pictures: list[Image.Image]) -> None:
    name = f'blip_requests_total{{path="{PATH}",status="200"}}'
    before, batches = figure(server, name), figure(server, "blip_batch_pictures_count")
    assert ask(server, "POST", PATH, chat(pictures[0])).status == 200
    assert figure(server, name) == before + 1
    assert figure(server, "blip_batch_pictures_count") == batches + 1
    ask(server, "GET", "/some/path/of/many")
    assert "/some/path" not in ask(server, "GET", "/metrics").body.decode()
    assert figure(server, 'blip_requests_total{path="other",status="404"}') >= 1


@pytest.mark.parametrize("batch_size", ["1", "4"])
def test_its_end_finishes_what_is_under_way(checkpoint: Path, pictures: list[Image.Image], batch_size: str) -> None:
    body = json.dumps(chat(pictures[0])).encode()
    with serving(checkpoint, "--batch-size", batch_size) as own:
        with begun(own, body, 10) as connection, begun(own, body, 10):
            until(own, UNDER_WAY, 2)
            own.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", int(own.place.rpartition(":")[2])), timeout=5).close()
            connection.sendall(body[10:])
            answer = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert own.process.wait(timeout=30) == 0
        assert alone(checkpoint, pictures[:1])[0].text.encode() in answer
