"""Whatever is stopped at whatever moment: each picture has one row in the end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from PIL import Image

from tests.captioner.corpus.archives import caption, fill, rows, start, survivors
from tests.conftest import Build

PICTURES = 300
SIDE = 2000  # pixels, which take a while to open
PATIENCE = 120.0  # seconds, for the slowest machine

Asked = TypeVar("Asked")


@pytest.fixture
def archive(tmp_path: Path, pictures: list[Image.Image]) -> Path:
    return fill(tmp_path / "archive", pictures, PICTURES, SIDE)


def until(what: Callable[[], object]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it took too long")


def await_files(process: "subprocess.Popen[str]", output: Path, wanted: int) -> None:
    until(lambda: files(output) >= wanted or process.poll() is not None)


def files(output: Path) -> int:
    return len(list(output.glob("[0-9a-f]*/*.parquet")))


def processes(temporary: Path) -> list[psutil.Process]:
    """All of Ray's."""
    return [each for parent in survivors(temporary) for each in [parent, *unless_gone(parent.children, recursive=True)]]


def unless_gone(asked: Callable[..., list[Asked]], **options: object) -> list[Asked]:
    """What a process says of itself: nothing if it ended since it was found, or is a zombie."""
    try:
        return asked(**options)
    except psutil.NoSuchProcess:
        return []


def workers(temporary: Path) -> list[psutil.Process]:
    """Those that caption."""
    return [each for each in processes(temporary) if "MapWorker" in " ".join(unless_gone(each.cmdline))]


def reachable(temporary: Path) -> list[str]:
    """The addresses at which somebody on the network could reach Ray."""
    sockets = [each for own in processes(temporary) for each in unless_gone(own.net_connections, kind="inet")]
    listening = [each.laddr.ip.removeprefix("::ffff:") for each in sockets if each.status == psutil.CONN_LISTEN]
    assert listening
    return [address for address in listening if not ip_address(address).is_loopback]


def kill_driver(process: "subprocess.Popen[str]", temporary: Path) -> None:
    process.kill()
    process.wait()
    until(lambda: not survivors(temporary))


def interrupt(process: "subprocess.Popen[str]", temporary: Path) -> None:
    """Ctrl-C, once."""
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    until(lambda: not survivors(temporary))


@pytest.mark.parametrize("stop", [kill_driver, interrupt])
def test_what_was_stopped_goes_on(
    stop: Callable[["subprocess.Popen[str]", Path], None],
    archive: Path,
    build: Build,
    temporary: Path,
    tmp_path: Path,
) -> None:
    output, log = tmp_path / "captions", tmp_path / "log"
    for wanted in (2, 5):
        process = start(build("onnx"), archive, output, log=log, TMPDIR=str(temporary))
        await_files(process, output, wanted)
        stop(process, temporary)
    before = files(output)
    said = caption(build("onnx"), archive, output, log=log, TMPDIR=str(temporary))
    assert "going on: " in said and f"{PICTURES} pictures captioned" in said
    found = rows(output)
    assert [row["id"] for row in found] == list(range(PICTURES))
    assert len({row["path"] for row in found}) == PICTURES
    assert before <= files(output)


def test_a_worker_that_dies_is_replaced(archive: Path, build: Build, temporary: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "captions", tmp_path / "log"
    process = start(build("onnx"), archive, output, log=log, TMPDIR=str(temporary))
    for wanted in (1, 4):
        until(lambda wanted=wanted: (files(output) >= wanted and workers(temporary)) or process.poll() is not None)
        assert not reachable(temporary)
        for worker in workers(temporary):
            worker.kill()
    assert process.wait(timeout=PATIENCE) == 0, log.read_text(encoding="utf-8")
    assert [row["id"] for row in rows(output)] == list(range(PICTURES))


def test_another_decoding_begins_anew_and_says_so(
    build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path
) -> None:
    archive = fill(tmp_path / "archive", pictures, 20)
    output, log = tmp_path / "captions", tmp_path / "log"
    caption(build("onnx"), archive, output, log=log, TMPDIR=str(temporary))
    [first] = output.glob("[0-9a-f]*")
    said = caption(build("onnx"), archive, output, "--max-new-tokens", "1", log=log, TMPDIR=str(temporary))
    assert f"captions by another checkpoint or decoding ({first.name}), which stay" in said
    [second] = set(output.glob("[0-9a-f]*")) - {first}
    assert [row["id"] for row in rows(second)] == [row["id"] for row in rows(first)] == list(range(20))
    assert {row["digest"] for row in rows(second)} == {second.name}
    assert all(len((row["caption"] or "").split()) <= 1 for row in rows(second))
