import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.sources.hub import next_query, seconds_to_wait
from tests.conftest import assert_one_sentence
from tests.hub import Handler, Hub
from tests.sources.fetching import COMMIT, REPOSITORY, Fetch, assert_all_there, fetched, status


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


def test_an_unfinished_download_leaves_only_its_part(fetch: Fetch, hub: Hub, tmp_path: Path) -> None:
    hub.dies_after = 2_000_000
    fetch()
    with contextlib.suppress(FileNotFoundError):
        assert "pytorch_model.bin" not in fetched(tmp_path)
    (part,) = (tmp_path / "cache").rglob("*.incomplete")
    assert part.stat().st_size == 2_000_000


@given(st.binary() | st.from_regex(rb"<[^>]*>; rel=\"?next\"?"))
def test_whatever_a_link_says_is_a_query_or_nothing(link: bytes) -> None:
    query = next_query(httpx2.Response(200, headers=[(b"Link", link)]))
    assert query is None or "#" not in query


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
