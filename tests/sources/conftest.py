import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub, serve
from tests.sources.fetching import COMMIT, FETCH, REPOSITORY, Fetch, environment


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
