"""A Hub that lists in pages, gives wrong bytes, or wants a token; and what is seen of a download."""

import contextlib
import os
import pty
from pathlib import Path

import pytest

from tests.conftest import assert_one_sentence
from tests.hub import Handler, Hub
from tests.sources.fetching import ATTEMPTS, REPOSITORY, TOKEN, Fetch, assert_all_there, at_first, fetched, page, status


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


def test_a_mirror_may_lie_below_a_path(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.prefix = "/mirrors/hub"
    process = fetch(HF_ENDPOINT=f"{hub.endpoint}/mirrors/hub/")
    assert process.returncode == 0, process.stderr
    assert_all_there(hub, tmp_path)


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
