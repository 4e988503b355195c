"""A server in a process of its own, as people start it, and pictures as requests hold them."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL import Image
from tokenizers import Tokenizer

from stages.captioner import Caption, Decoding, open_captioner
from tests.conftest import PROJECT


class Server(NamedTuple):
    """Where it serves, its process, and the file of what it says."""

    url: str
    process: "subprocess.Popen[bytes]"
    said: int

    @property
    def place(self) -> str:
        return urlsplit(self.url).netloc


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator[Server]:
    """A server of a checkpoint on a free port of loopback, ended with the block."""
    command = [sys.executable, "-m", "stages.captioner.commands.serve", "--checkpoint", str(checkpoint), "--port", "0"]
    with serving_by([*command, *options]) as server:
        yield server


@contextmanager
def serving_by(command: list[str]) -> Iterator[Server]:
    """The server that a command starts, ended with the block."""
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=said)
        try:
            yield Server(_address(process, said.fileno()), process, said.fileno())
        finally:
            process.terminate()
            process.wait(timeout=100)


def _address(process: "subprocess.Popen[bytes]", said: int) -> str:
    for _ in range(1200):
        lines = os.pread(said, 100_000, 0).decode()
        if found := re.search(r"^serving at (\S+)$", lines, re.MULTILINE):
            return found[1]
        assert process.poll() is None, lines
        time.sleep(0.05)
    raise AssertionError("the server doesn't start")


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request, of bytes as they are or of anything as JSON; `_` in a header's name stands for `-`."""
    connection = HTTPConnection(server.place, timeout=60)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, content, named)
    answer = connection.getresponse()
    found = Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    connection.close()
    return found


def figure(server: Server, name: str) -> float:
    """One of the server's figures, by its name and labels."""
    lines = ask(server, "GET", "/metrics").body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def in_base64(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def data_url(picture: Image.Image) -> str:
    return f"data:image/png;base64,{in_base64(picture)}"


def chat(picture: Image.Image, text: str = "What is this?", **more: Any) -> dict[str, Any]:
    """A body of OpenAI's chat completions."""
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": data_url(picture)}}]
    return {"model": "blip", "messages": [{"role": "user", "content": content}], **more}


def alone(checkpoint: Path, pictures: Sequence[Image.Image], **changes: Any) -> list[Caption]:
    """The captions that pictures have, one at a time."""
    with open_captioner(checkpoint) as captioner:
        decoding = Decoding.model_validate(captioner.decoding.model_dump() | changes)
        return [captioner.caption_with_scores([picture], decoding)[0] for picture in pictures]


def tokens(checkpoint: Path, text: str) -> int:
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
