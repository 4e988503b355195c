import os
from pathlib import Path

import pytest
from PIL import Image
from starlette.datastructures import Headers

from stages.captioner.command_line import InputError
from stages.captioner.server.guard import LOOPBACK, Access, is_loopback, read_token, refusal
from tests.captioner.server.servers import Server, ask, chat, serving
from tests.conftest import RunStage, assert_one_sentence

TOKEN = b"0123456789abcdef"
OPEN, CLOSED = Access(LOOPBACK, None), Access(LOOPBACK, TOKEN)


@pytest.mark.parametrize(
    ("headers", "access", "status"),
    [
        ({"host": "localhost:8080"}, OPEN, None),
        ({"host": "127.0.0.1"}, OPEN, None),
        ({"host": "[::1]:80"}, OPEN, None),
        ({"host": "LOCALHOST"}, OPEN, None),
        ({"host": "attacker.example"}, OPEN, 403),
        ({"host": "localhost.attacker.example"}, OPEN, 403),
        ({"host": "attacker.example@localhost"}, OPEN, 403),
        ({"host": "localhost:80:80"}, OPEN, 403),
        ({"host": "localhost\n"}, OPEN, 403),
        ({}, OPEN, 403),
        ({"host": "localhost:8080", "origin": "http://localhost:8080"}, OPEN, None),
        ({"host": "localhost:8080", "origin": "http://localhost:3000"}, OPEN, 403),
        ({"host": "localhost:8080", "origin": "https://example.com"}, OPEN, 403),
        ({"host": "localhost:8080", "origin": "null"}, OPEN, 403),
        ({"host": "localhost"}, CLOSED, 401),
        ({"host": "localhost", "authorization": "Bearer 0123456789abcdef"}, CLOSED, None),
        ({"host": "localhost", "authorization": "bearer 0123456789abcdef"}, CLOSED, None),
        ({"host": "localhost", "authorization": "Bearer 0123456789abcde"}, CLOSED, 401),
        ({"host": "localhost", "authorization": "Bearer é"}, CLOSED, 401),
        ({"host": "localhost", "authorization": "Basic 0123456789abcdef"}, CLOSED, 401),
        ({"host": "example.com", "authorization": "Bearer 0123456789abcdef"}, CLOSED, 403),
    ],
)
def test_who_may_ask(headers: dict[str, str], access: Access, status: int | None) -> None:
    found = refusal(Headers(headers), access)
    assert (found and found[0]) == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("127.9.9.9", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.0.1", "example.com", "localhost.example.com", "")],
)
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def write(file: Path, content: bytes, mode: int = 0o600) -> Path:
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_token_is_read_from_its_owner_s_file(tmp_path: Path) -> None:
    assert read_token(write(tmp_path / "token", TOKEN + b"\n")) == TOKEN


@pytest.mark.parametrize(
    "content", [b"", b"short", b"0123456789 abcdef", b"\xff" * 20, b"a" * 5000, b"a" * 20 + b"\nb"]
)
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_token(write(tmp_path / "token", content))
    assert content.decode("latin-1").strip() not in str(caught.value) or not content


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InputError, match="chmod 600"):
        read_token(write(tmp_path / "token", TOKEN, mode))


def test_any_other_address_than_loopback_needs_a_token(run_stage: RunStage, tmp_path: Path) -> None:
    options = ("captioner.commands.serve", "--checkpoint", tmp_path, "--host")
    assert_one_sentence(run_stage(*options, "0.0.0.0"), "others may reach 0.0.0.0", "--token-file")
    assert_one_sentence(run_stage(*options, "0.0.0.0", "--token-file", tmp_path / "none"), "can't be read")
    assert_one_sentence(run_stage(*options, "127.0.0.1", "--port", "0"), "checkpoint.json")


def test_an_address_that_is_taken_is_a_sentence(run_stage: RunStage, server: Server, checkpoint: Path) -> None:
    port = server.place.rpartition(":")[2]
    taken = run_stage("captioner.commands.serve", "--checkpoint", checkpoint, "--port", port)
    assert_one_sentence(taken, "can't serve at 127.0.0.1", port)


def test_each_api_says_in_its_own_form_that_a_token_is_missing(
    checkpoint: Path, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    file = write(tmp_path / "token", TOKEN)
    with serving(checkpoint, "--token-file", str(file), "--host", "0.0.0.0", "--allow-host", "Captions.lan") as own:
        reached = own._replace(url=own.url.replace("0.0.0.0", "127.0.0.1"))
        assert ask(reached, "GET", "/healthz").status == 200
        for path in ("/v1/models", "/api/tags", "/api/v1/vision/caption", "/metrics"):
            answer = ask(reached, "GET", path)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer", path
        assert ask(reached, "GET", "/v1/models").json["error"]["code"] == "invalid_api_key"
        assert isinstance(ask(reached, "GET", "/api/tags").json["error"], str)
        bearer = {"Authorization": f"Bearer {TOKEN.decode()}"}
        assert ask(reached, "POST", "/v1/chat/completions", chat(pictures[0]), **bearer).status == 200
        assert ask(reached, "GET", "/v1/models", Host="captions.lan:8080", **bearer).status == 200
        assert ask(reached, "GET", "/v1/models", Host="other.lan:8080", **bearer).status == 403


def test_a_page_of_another_origin_learns_nothing(server: Server, pictures: list[Image.Image]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(server, method, "/v1/models", Origin="https://example.com")
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert ask(server, "POST", "/v1/chat/completions", chat(pictures[0]), Host="rebound.example").status == 403
    assert "access-control-allow-origin" not in ask(server, "GET", "/v1/models").headers
    assert ask(server, "OPTIONS", "/v1/chat/completions").status == 405
