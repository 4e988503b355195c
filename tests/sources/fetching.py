"""Fetching from the stand-in Hub in a process of its own, and what a server answers instead."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import PROJECT
from tests.hub import Handler, Hub

REPOSITORY, COMMIT = "somebody/blip-tiny", "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secretOfThisTest"
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


def at_first(times: int, answer: Callable[[Handler], bool], path: str) -> Callable[[Handler], bool]:
    """Answers so for as many times where a request's path has this in it, and then no longer."""
    left = [times]

    def instead(handler: Handler) -> bool:
        if path not in handler.path or not left[0]:
            return False
        left[0] -= 1
        return answer(handler)

    return instead
