import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, assert_one_sentence
from tests.hub import Handler, Hub, serve

REPOSITORY, COMMIT = "somebody/blip-tiny", "0123456789abcdef0123456789abcdef01234567"
FETCH = f"""
from stages.captioner.command_line import ending_in_one_sentence
with ending_in_one_sentence():
    from stages.sources.hub import fetch
    from stages.params import HubSource
    fetch(HubSource(hub="{REPOSITORY}", revision="{COMMIT}"))
"""
Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub whose files are as large as they are in a model's repository, but hold nothing."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "vocab.txt"):
        (folder / name).write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(bytes(range(256)) * 12_000)
    with serve(REPOSITORY, COMMIT, folder) as server:
        yield server


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """Fetches the repository in a process of its own, as the Hub's client reads the environment once."""

    def run(**environment: str) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        given = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        return subprocess.run(
            [sys.executable, "-c", FETCH],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(PROJECT), **given, **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    return run


def fetched(tmp_path: Path) -> dict[str, bytes]:
    snapshots = tmp_path / "cache" / "hub" / "models--somebody--blip-tiny" / "snapshots" / COMMIT
    return {file.name: file.read_bytes() for file in snapshots.iterdir()}


def assert_all_there(hub: Hub, tmp_path: Path) -> None:
    assert fetched(tmp_path) == {file.name: file.read_bytes() for file in hub.folder.iterdir()}


def test_what_was_fetched_once_needs_no_network(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    assert fetch().returncode == 0
    assert_all_there(hub, tmp_path)
    hub.seen.clear()
    assert fetch().returncode == 0
    assert fetch(HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9").returncode == 0
    assert not hub.seen


def test_what_the_hubs_client_left_in_its_cache_is_used(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache")}
    code = f"import huggingface_hub as h; h.snapshot_download({REPOSITORY!r}, revision={COMMIT!r}, max_workers=1)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True, capture_output=True)
    hub.seen.clear()
    assert fetch().returncode == 0
    assert not hub.seen


@pytest.mark.parametrize("cut_after", [100_000, 1_000_000])
def test_a_download_that_keeps_breaking_but_gets_on_gets_through(
    fetch: Fetch, hub: Hub, tmp_path: Path, cut_after: int
) -> None:
    hub.cut_after = cut_after
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)
    assert hub.requested_ranges == [f"bytes={first}-" for first in range(cut_after, 256 * 12_000, cut_after)]


def test_the_next_run_goes_on_where_a_dead_connection_left_off(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    assert_one_sentence(fetch(), "run this again, it will resume")
    assert "pytorch_model.bin" not in fetched(tmp_path)
    hub.dies_after = None
    hub.requested_ranges.clear()
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert hub.requested_ranges == ["bytes=2000000-"]
    assert "resuming pytorch_model.bin" in process.stdout
    assert_all_there(hub, tmp_path)


def test_a_server_that_knows_no_ranges_gives_the_whole_file(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    fetch()
    hub.dies_after = None

    def forget_the_range(handler: Handler) -> bool:
        del handler.headers["Range"]
        return False

    hub.instead = forget_the_range
    assert fetch().returncode == 0
    assert_all_there(hub, tmp_path)


def test_a_part_of_something_else_is_found_out(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    fetch()
    hub.dies_after = None
    (part,) = (tmp_path / "cache").rglob("*pytorch_model.bin.incomplete")
    part.write_bytes(b"x" * 2_000_000)
    assert_one_sentence(fetch(), "pytorch_model.bin", "damaged", "run this again")
    assert fetch().returncode == 0
    assert_all_there(hub, tmp_path)


def test_two_processes_fetch_a_file_once(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        assert [process.returncode for process in pool.map(lambda _: fetch(), range(2))] == [0, 0]
    assert hub.downloaded.count("pytorch_model.bin") == 1
    assert_all_there(hub, tmp_path)


def test_xet_whose_storage_is_out_of_reach_is_passed_by(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.xet = True
    before = time.monotonic()
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert time.monotonic() - before < 20
    assert_all_there(hub, tmp_path)


def test_sharded_safetensors_are_fetched_and_nothing_else(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
    (hub.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in [*shards, "other.safetensors"]:
        (hub.folder / name).write_bytes(b"weights")
    assert fetch().returncode == 0
    assert {"model.safetensors.index.json", *shards} <= fetched(tmp_path).keys()
    assert not {"pytorch_model.bin", "other.safetensors"} & set(hub.downloaded)
    hub.seen.clear()
    assert fetch().returncode == 0
    assert not hub.seen


def test_nothing_is_told_of_this_machine(fetch: Fetch, hub: Hub) -> None:
    assert fetch(HF_TOKEN="hf_secret").returncode == 0
    for path, headers in hub.seen:
        assert headers["User-Agent"] == "blip-on-cpu"
        assert path.startswith((f"/api/models/{REPOSITORY}/tree/", f"/{REPOSITORY}/resolve/", "/small/", "/storage/"))
        assert ("Authorization" in headers) == (not path.startswith("/storage/")), "a token is for the Hub alone"


def status(code: int, **headers: str) -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        handler.send(code, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return answer


def page(content_type: str, body: bytes, only: str = "") -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        if only not in handler.path:
            return False
        handler.send(200, {"Content-Type": content_type, "Content-Length": str(len(body))})
        handler.wfile.write(body)
        return True

    return answer


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
        (status(429, Retry_After="86400"), "429 Too Many"),
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


@pytest.mark.parametrize("code", ["GatedRepo", "RevisionNotFound", "RepoNotFound"])
def test_what_a_hub_refuses_is_named(fetch: Fetch, hub: Hub, code: str) -> None:
    hub.instead = status(403, X_Error_Code=code)
    assert_one_sentence(fetch(), REPOSITORY)


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


def test_another_protocol_behind_https_is_one_sentence(fetch: Fetch, hub: Hub) -> None:
    assert_one_sentence(fetch(HF_ENDPOINT=hub.endpoint.replace("http:", "https:")), "check the network")


def test_an_unfinished_download_leaves_only_its_part(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    fetch()
    with contextlib.suppress(FileNotFoundError):
        assert "pytorch_model.bin" not in fetched(tmp_path)
    (part,) = (tmp_path / "cache").rglob("*.incomplete")
    assert part.stat().st_size == 2_000_000
