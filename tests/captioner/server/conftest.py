import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioner.server.servers import Server, serving
from tests.conftest import Build


@pytest.fixture(scope="session")
def checkpoint(build: Build) -> Path:
    """What is served: quick to open."""
    return build("onnx")


@pytest.fixture(scope="session")
def server(checkpoint: Path) -> Iterator[Server]:
    """A server as it is by default. Tests leave it as it was."""
    with serving(checkpoint) as running:
        yield running
        assert "Traceback" not in os.pread(running.said, 1_000_000, 0).decode()
