"""A network that answers for the Hub, is busy, stalls, or is settled wrongly; and proxies."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.conftest import assert_one_sentence
from tests.hub import Handler, Hub
from tests.sources.fetching import (
    ATTEMPTS,
    REPOSITORY,
    TOKEN,
    Fetch,
    assert_all_there,
    at_first,
    fetched,
    page,
    status,
)


def hang(handler: Handler) -> bool:
    time.sleep(2)
    return True


def hang_up(handler: Handler) -> bool:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return True


LOGIN = b"<html>" + b"please log in " * 10_000 + b"</html>"


@pytest.mark.parametrize(
    ("instead", "part"),
    [
        (status(403), "403 Forbidden"),
        (status(407), "407 Proxy"),
        (status(429, Retry_After="86400"), "429 Too Many Requests, and asks to wait 86400 s"),
        (status(429, RateLimit='"api";r=0;t=299'), "429 Too Many Requests, and asks to wait 299 s"),
        (status(500, X_Error_Message="x" * 10_000), "500 Internal"),
        (status(502), "502 Bad Gateway"),
        (status(599), "599"),
        (status(302, Location="/again"), "redirect"),
        (status(302, Location="http://[nowhere"), ""),
        (status(302, Location="ftp://127.0.0.1/"), ""),
        (page("text/html", LOGIN), "text/html"),
        (page("application/json", b'[{"type": "file", "pa'), "application/json"),
        (page("application/json", b'{"error": "no"}'), "application/json"),
        (page("text/html", LOGIN, only="/small/"), "text/html"),
        (page("text/html", LOGIN, only="/storage/"), "text/html"),
        (hang, "timed out"),
        (hang_up, "disconnected"),
    ],
)
def test_whatever_a_network_answers_is_one_sentence(
    fetch: Fetch, hub: Hub, instead: Callable[[Handler], bool], part: str
) -> None:
    hub.instead = instead
    process = fetch()
    assert_one_sentence(process, part, "check the network", "blip-base-untrained")
    assert len(process.stderr) < 400


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "socks"),
        ({"ALL_PROXY": "socks://127.0.0.1:9"}, "socks"),
        ({"ALL_PROXY": "nonsense"}, ""),
        ({"HTTP_PROXY": "http://127.0.0.1:9"}, "refused"),
        ({"HTTP_PROXY": "http://[::1"}, ""),
        ({"HF_ENDPOINT": "nonsense"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://127.0.0.1:99999"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://[::1"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "refused"),
        ({"HF_ENDPOINT": "http://nowhere.invalid"}, ""),
        ({"HF_ENDPOINT": "http://" + "x" * 5000}, ""),
        ({"HF_TOKEN": "héllo"}, "HF_TOKEN"),
        ({"HF_TOKEN": "hf_secret\x01"}, "HF_TOKEN"),
        ({"HTTP_PROXY": "http://me:hf_secret@[::1"}, ""),
        ({"HTTP_PROXY": "http://me:hf_secret@127.0.0.1:9"}, "refused"),
        ({"HTTP_PROXY": "ftp://me:hf_secret@127.0.0.1:9"}, ""),
        ({"HF_ENDPOINT": "ftp://me:hf_secret@127.0.0.1"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://me:hf_secret@[::1"}, "HF_ENDPOINT"),
        ({"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, "HF_HUB_DOWNLOAD_TIMEOUT"),
        ({"SSL_CERT_FILE": "/nowhere/cert.pem", "HF_ENDPOINT": "https://127.0.0.1:9"}, ""),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
        ({"HF_HOME": "/proc/nowhere"}, "HF_HOME"),
        ({"HF_HOME": "/dev/null"}, "HF_HOME"),
        ({"HF_HOME": "~nobody-of-this-name/cache"}, "HF_HOME"),
    ],
)
def test_settings_that_lead_nowhere_are_one_sentence(fetch: Fetch, environment: dict[str, str], part: str) -> None:
    process = fetch(**environment)
    assert_one_sentence(process, part)
    assert len(process.stderr) < 400
    assert "hf_secret" not in process.stderr + process.stdout


def test_another_protocol_behind_https_is_one_sentence(fetch: Fetch, hub: Hub) -> None:
    assert_one_sentence(fetch(HF_ENDPOINT=hub.endpoint.replace("http:", "https:")), "check the network")


@pytest.mark.parametrize("path", ["/tree/", "/resolve/", "/storage/"])
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    fetch: Fetch, hub: Hub, tmp_path: Path, path: str, code: int
) -> None:
    hub.instead = at_first(ATTEMPTS - 1, status(code), path)
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)


@pytest.mark.parametrize("path", ["/tree/", "/storage/"])
def test_a_server_that_stays_busy_is_asked_only_so_often(fetch: Fetch, hub: Hub, path: str) -> None:
    hub.instead = at_first(100, status(500), path)
    assert_one_sentence(fetch(), "500 Internal", "check the network")
    assert len([seen for seen, _ in hub.seen if path in seen]) == ATTEMPTS


@pytest.mark.parametrize("asked", [{"Retry_After": "1"}, {"RateLimit": '"resolvers";r=0;t=1'}])
def test_a_server_is_given_the_time_that_it_asks_for(
    fetch: Fetch, hub: Hub, tmp_path: Path, asked: dict[str, str]
) -> None:
    free_again: list[float] = []

    def busy_for_a_second(handler: Handler) -> bool:
        if "/storage/" not in handler.path:
            return False
        free_again.append(time.monotonic() + 0.9)
        return time.monotonic() < free_again[0] and status(429, **asked)(handler)

    hub.instead = busy_for_a_second
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert "429 Too Many Requests: waiting 1 s" in process.stdout
    assert_all_there(hub, tmp_path)


def test_a_server_that_asks_for_too_much_time_is_not_asked_again(fetch: Fetch, hub: Hub) -> None:
    hub.instead = at_first(100, status(503, Retry_After="61"), "/tree/")
    assert_one_sentence(fetch(), "503 Service Unavailable, and asks to wait 61 s", "run this again")
    assert len(hub.seen) == 1


def send_and_stall(handler: Handler) -> bool:
    """Announces all of a file, sends a little of it once, and then nothing until the other side hangs up."""
    handler.send(200, {"Content-Length": str(256 * 12_000)})
    if "Range" not in handler.headers:
        handler.wfile.write(b"a little")
        handler.wfile.flush()
    with contextlib.suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True
    return True


def test_a_connection_that_stalls_is_given_up(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.instead = at_first(100, send_and_stall, "/storage/")
    assert_one_sentence(fetch("hub.PAUSES = (0.1,)"), "timed out", "run this again, it will resume")
    assert "pytorch_model.bin" not in fetched(tmp_path)


@pytest.fixture
def proxy_log(tmp_path: Path) -> Iterator[Path]:
    """The log of a proxy that asks for a name and a password."""
    log, port = tmp_path / "proxy.log", tmp_path / "port"
    settings = ["--hostname=127.0.0.1", "--port=0", f"--port-file={port}", "--basic-auth=me:hf_secret"]
    command = [sys.executable, "-m", "proxy", *settings, "--num-acceptors=1", "--num-workers=1", f"--log-file={log}"]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}) as process:
        while not port.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield log
        process.terminate()


def proxy_of(log: Path, password: str = "hf_secret") -> str:
    return f"http://me:{password}@127.0.0.1:{(log.parent / 'port').read_text().strip()}"


def wait_for(log: Path, line: str) -> None:
    """Until a proxy has written a line, which it does once a connection has ended."""
    until = time.monotonic() + 20
    while line not in log.read_text():
        assert time.monotonic() < until, f"{line} is not in {log.read_text()}"
        time.sleep(0.02)


def test_a_proxy_is_gone_through(fetch: Fetch, hub: Hub, tmp_path: Path, proxy_log: Path) -> None:
    process = fetch(HTTP_PROXY=proxy_of(proxy_log))
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)
    for host, path in (("127.0.0.1", f"/api/models/{REPOSITORY}"), ("127.0.0.2", "/storage/pytorch_model.bin")):
        wait_for(proxy_log, f"GET {host}:{hub.server_port}{path}")


def test_a_proxy_that_does_not_let_through_is_one_sentence(fetch: Fetch, hub: Hub, proxy_log: Path) -> None:
    process = fetch(HTTP_PROXY=proxy_of(proxy_log, "hf_wrong"))
    assert_one_sentence(process, "407 Proxy Authentication Required")
    assert not hub.seen and "hf_wrong" not in process.stderr


def test_what_is_encrypted_goes_through_a_proxy_that_sees_no_token(
    fetch: Fetch, hub: Hub, tmp_path: Path, proxy_log: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    hub.socket = context.wrap_socket(hub.socket, server_side=True)
    given = {"HF_ENDPOINT": hub.endpoint.replace("http:", "https:"), "HTTPS_PROXY": proxy_of(proxy_log)}
    given |= {"HF_TOKEN": TOKEN, "SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    process = fetch(**given)
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)
    wait_for(proxy_log, f"CONNECT 127.0.0.1:{hub.server_port}")
    assert hub.seen and not [headers for _, headers in hub.seen if {"Via", "Proxy-Authorization"} & headers.keys()]
    untrusted = fetch(**given | {"SSL_CERT_FILE": "", "HF_HOME": str(tmp_path / "other")})
    assert_one_sentence(untrusted, "CERTIFICATE_VERIFY_FAILED")
