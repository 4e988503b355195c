import contextlib
import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from stages.sources.hub import next_query, seconds_to_wait
from tests.conftest import PROJECT, assert_one_sentence
from tests.hub import Handler, Hub, serve

REPOSITORY, COMMIT = "somebody/blip-tiny", "0123456789abcdef0123456789abcdef01234567"
FETCH = f"""
import sys
from stages.captioner.command_line import ending_in_one_sentence
with ending_in_one_sentence():
    from stages.sources import hub
    from stages.setup.params import HubSource
    hub.PAUSES = (0.05, 0.1)
    exec(sys.argv[1])
    hub.fetch(HubSource(hub="{REPOSITORY}", revision="{COMMIT}"))
"""
ATTEMPTS = 3  # one, and one after each pause
Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub whose files are as large as they are in a model's repository, but hold nothing."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("preprocessor_config.json", "tokenizer.json", "vocab.txt"):
        (folder / name).write_text("{}")
    (folder / "config.json").write_text('{"model_type": "blip"}')
    (folder / "pytorch_model.bin").write_bytes(bytes(range(256)) * 12_000)
    with serve(REPOSITORY, COMMIT, folder) as server:
        yield server


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """Fetches the repository in a process of its own, as the Hub's client reads the environment once."""

    def run(change: str = "", stdout: int = subprocess.PIPE, **given: str) -> "subprocess.CompletedProcess[str]":
        """`change` is what is done to the module first: its limits are of seconds and megabytes."""
        return subprocess.run(
            ["bash", "-c", f'{given.pop("limit", ":")} && exec "$0" -c "$1" "$2"', sys.executable, FETCH, change],
            cwd=tmp_path,
            env=environment(hub, tmp_path) | given,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=60,
        )

    return run


def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """This one, without proxies and tokens, with the stand-in Hub and a cache of its own."""
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_token"))}
    here = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    return {**own, "PYTHONPATH": str(PROJECT), **here}


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
    assert fetch(HF_HUB_OFFLINE="1").returncode == 0
    assert not hub.seen
    hub.downloaded.clear()
    assert fetch().returncode == 0
    assert [path for path, _ in hub.seen] == [f"/api/models/{REPOSITORY}/tree/{COMMIT}"]


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
    ("instead", "part"),
    [
        (status(403, X_Error_Code="GatedRepo"), "accept its terms"),
        (status(404, X_Error_Code="RevisionNotFound"), "correct its revision"),
        (status(401, X_Error_Code="RepoNotFound"), "correct its name"),
        (status(401), "hf auth login"),
        (status(404), "HF_ENDPOINT"),
    ],
)
def test_what_a_hub_refuses_is_named_at_once(
    fetch: Fetch, hub: Hub, instead: Callable[[Handler], bool], part: str
) -> None:
    hub.instead = instead
    assert_one_sentence(fetch(), REPOSITORY, part)
    assert len(hub.seen) == 1


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


def test_an_unfinished_download_leaves_only_its_part(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    fetch()
    with contextlib.suppress(FileNotFoundError):
        assert "pytorch_model.bin" not in fetched(tmp_path)
    (part,) = (tmp_path / "cache").rglob("*.incomplete")
    assert part.stat().st_size == 2_000_000


# A list in pages


@pytest.fixture
def crowded(hub: Hub) -> Hub:
    """A Hub that lists two files at a time, with the weights on the last of many pages."""
    for number in range(20):
        (hub.folder / f"picture{number}.png").touch()
    hub.page = 2
    return hub


def wanted(hub: Hub) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in hub.folder.iterdir() if file.suffix != ".png"}


@pytest.mark.parametrize(
    "address",
    [
        None,
        "/api/models/somebody/blip-tiny/tree?cursor={cursor}",
        "?cursor={cursor}",
        "http://127.0.0.2:9/api/models/somebody/blip-tiny/tree?cursor={cursor}",
        "https://hub.invalid/api/models/somebody/blip-tiny/tree?limit=2&cursor={cursor}",
        "//hub.invalid?cursor={cursor}",
    ],
)
def test_a_list_in_pages_is_read_to_its_end_and_from_the_hub_alone(
    fetch: Fetch, crowded: Hub, tmp_path: Path, address: str | None
) -> None:
    """A mirror that passes answers on names the real host in them, which is not to see the token."""
    crowded.next_page = address or crowded.next_page
    process = fetch(HF_TOKEN=TOKEN)
    assert process.returncode == 0, process.stderr
    assert fetched(tmp_path) == wanted(crowded)
    assert len([path for path, _ in crowded.seen if "/tree/" in path]) == 13
    hosts = {headers["Host"] for _, headers in crowded.seen if "Authorization" in headers}
    assert hosts == {crowded.endpoint.removeprefix("http://")}


def test_a_mirror_below_a_path_lists_in_pages(fetch: Fetch, crowded: Hub, tmp_path: Path) -> None:
    crowded.prefix = "/mirrors/hub"
    process = fetch(HF_ENDPOINT=f"{crowded.endpoint}/mirrors/hub/")
    assert process.returncode == 0, process.stderr
    assert fetched(tmp_path) == wanted(crowded)


def test_only_the_page_that_fails_is_asked_for_again(fetch: Fetch, crowded: Hub, tmp_path: Path) -> None:
    crowded.instead = at_first(ATTEMPTS - 1, status(503), "cursor=10")
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert fetched(tmp_path) == wanted(crowded)
    assert len([path for path, _ in crowded.seen if "/tree/" in path]) == 13 + ATTEMPTS - 1


@pytest.mark.parametrize("address", ["?cursor=2", "?", "nonsense", "", "http://[nowhere", "ftp://hub.invalid/"])
def test_a_list_that_leads_back_to_itself_is_one_sentence(fetch: Fetch, crowded: Hub, address: str) -> None:
    crowded.next_page = address
    assert_one_sentence(fetch(), "leads back", "HF_ENDPOINT")
    assert len(crowded.seen) <= 2


def test_a_list_without_an_end_is_one_sentence(fetch: Fetch, hub: Hub) -> None:
    hub.page = 1
    hub.instead = endless
    assert_one_sentence(fetch("hub.MOST_PAGES = 20"), "more than 20 pages")
    assert len(hub.seen) == 20


def endless(handler: Handler) -> bool:
    cursor = len(handler.server.seen)
    handler.send(200, {"Link": f'<?cursor={cursor}>; rel="next"', "Content-Length": "2"})
    handler.wfile.write(b"[]")
    return True


def test_pages_of_too_many_bytes_are_not_read(fetch: Fetch, hub: Hub) -> None:
    def flood(handler: Handler) -> bool:
        handler.send(200, {"Content-Type": "application/json", "Content-Length": str(10**12)})
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b" " * 1_000_000)
        handler.close_connection = True
        return True

    hub.instead = flood
    assert_one_sentence(fetch("hub.LARGEST_LIST = 5_000_000"), "list of files", "more than 5 MB")


@given(st.binary() | st.from_regex(rb"<[^>]*>; rel=\"?next\"?"))
def test_whatever_a_link_says_is_a_query_or_nothing(link: bytes) -> None:
    query = next_query(httpx2.Response(200, headers=[(b"Link", link)]))
    assert query is None or "#" not in query


# A server that is busy, or stalls


def at_first(times: int, answer: Callable[[Handler], bool], path: str) -> Callable[[Handler], bool]:
    """Answers so for as many times where a request's path has this in it, and then no longer."""
    left = [times]

    def instead(handler: Handler) -> bool:
        if path not in handler.path or not left[0]:
            return False
        left[0] -= 1
        return answer(handler)

    return instead


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


def test_the_time_that_a_server_asks_for_is_a_number_or_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert seconds_to_wait({"Retry-After": "120"}) == 120
    assert 3500 < seconds_to_wait({"Retry-After": format_datetime(soon, usegmt=True)}) <= 3600
    assert seconds_to_wait({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert seconds_to_wait({"Retry-After": "soon", "RateLimit": '"api";r=0;t=55'}) == 55
    assert seconds_to_wait({"RateLimit": '"api";r=7;t=55'}) == 0
    assert seconds_to_wait({}) == 0


@given(st.text(), st.text() | st.from_regex(r'"api";r=0;t=\d+'))
def test_whatever_a_server_asks_for_is_a_time(retry_after: str, limit: str) -> None:
    assert seconds_to_wait({"Retry-After": retry_after, "RateLimit": limit}) >= 0


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


# Wrong bytes


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin"])
def test_other_bytes_of_the_right_length_are_found_out(fetch: Fetch, hub: Hub, tmp_path: Path, name: str) -> None:
    wrong = b"x" * (hub.folder / name).stat().st_size
    kept_at = "/storage/" if name == "pytorch_model.bin" else "/small/"
    hub.instead = at_first(1, page("application/octet-stream", wrong), kept_at + name)
    assert_one_sentence(fetch(), f"{name} of {REPOSITORY}", "damaged", "run this again")
    assert name not in (fetched(tmp_path) if name != "config.json" else {})
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    assert fetch().returncode == 0
    assert_all_there(hub, tmp_path)


# Tokens

TOKEN = "hf_secretOfThisTest"


def only_with_token(handler: Handler) -> bool:
    if handler.path.startswith("/storage/") or handler.headers["Authorization"] == f"Bearer {TOKEN}":
        return False
    unknown = "Authorization" not in handler.headers
    return status(401, **({"X_Error_Code": "RepoNotFound"} if unknown else {"X_Error_Message": "Invalid"}))(handler)


@pytest.mark.parametrize("place", ["HF_TOKEN", "token", "HF_TOKEN_PATH"])
def test_a_private_model_is_fetched_with_a_token_that_stays_where_it_was(
    fetch: Fetch, hub: Hub, tmp_path: Path, place: str
) -> None:
    hub.instead = only_with_token
    file = tmp_path / ("cache/token" if place == "token" else "my-token")
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{TOKEN}\n")
    given = {"HF_TOKEN": {"HF_TOKEN": TOKEN}, "token": {}, "HF_TOKEN_PATH": {"HF_TOKEN_PATH": str(file)}}[place]
    process = fetch(**given)
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)
    assert TOKEN not in process.stdout + process.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == [file]
    assert not [path for path, headers in hub.seen if path.startswith("/storage/") and TOKEN in str(headers)]


@pytest.mark.parametrize(("given", "part"), [({}, "is private"), ({"HF_TOKEN": "hf_another"}, "correct HF_TOKEN")])
def test_a_private_model_without_its_token_is_one_sentence(
    fetch: Fetch, hub: Hub, given: dict[str, str], part: str
) -> None:
    hub.instead = only_with_token
    process = fetch(**given)
    assert_one_sentence(process, REPOSITORY, part, "hf auth login")
    assert "hf_another" not in process.stderr


@pytest.mark.parametrize("content", [f"{TOKEN}\n", f"[a]\n{TOKEN}\n", f"[{TOKEN}\n", "\xff"])
def test_damaged_files_of_tokens_are_not_quoted(fetch: Fetch, tmp_path: Path, content: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/token").write_text(TOKEN)
    (tmp_path / "cache/stored_tokens").write_text(content, encoding="latin-1")
    process = fetch()
    assert TOKEN not in process.stdout + process.stderr
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("path", ["/tree/", "/resolve/"])
def test_a_redirect_to_another_host_gets_no_token(fetch: Fetch, hub: Hub, tmp_path: Path, path: str) -> None:
    def elsewhere(handler: Handler) -> bool:
        if path not in handler.path or not handler.headers["Host"].startswith("127.0.0.1"):
            return False
        return status(307, Location=f"{hub.storage}{handler.path}")(handler)

    hub.instead = elsewhere
    assert fetch(HF_TOKEN=TOKEN).returncode == 0
    assert_all_there(hub, tmp_path)
    hosts = {headers["Host"]: "Authorization" in headers for _, headers in hub.seen}
    assert hosts == {hub.endpoint.removeprefix("http://"): True, hub.storage.removeprefix("http://"): False}


# What lies between


def test_a_mirror_may_lie_below_a_path(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.prefix = "/mirrors/hub"
    process = fetch(HF_ENDPOINT=f"{hub.endpoint}/mirrors/hub/")
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)


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


# The disk and the terminal


def test_a_full_disk_midway_is_one_sentence_and_the_next_run_goes_on(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    assert_one_sentence(fetch(limit="ulimit -f 2000"), "the disk is full", "free some space")
    (part,) = (tmp_path / "cache").rglob("*.incomplete")
    size = part.stat().st_size
    assert 0 < size <= 2000 * 1024 < (hub.folder / "pytorch_model.bin").stat().st_size
    hub.requested_ranges.clear()
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert hub.requested_ranges == [f"bytes={size}-"]
    assert_all_there(hub, tmp_path)


def test_a_terminal_shows_progress(fetch: Fetch) -> None:
    ours, theirs = pty.openpty()
    process = fetch("hub.LARGE = 1_000_000", stdout=theirs, TERM="xterm", COLUMNS="100")
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)
    assert process.returncode == 0, process.stderr
    assert b"pytorch_model.bin" in shown and b"3.1/3.1 MB" in shown
    assert b"\x1b[" in shown
    assert b"config.json" not in shown


def test_a_log_gets_no_more_than_a_plain_line_per_file(fetch: Fetch) -> None:
    process = fetch("hub.LARGE = 1_000_000")
    assert process.returncode == 0, process.stderr
    assert not process.stderr
    assert len(process.stdout.splitlines()) <= 1
    assert "\x1b" not in process.stdout and "\r" not in process.stdout
