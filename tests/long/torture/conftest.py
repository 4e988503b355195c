"""For the short forms of `make torture`: a project with one small checkpoint."""

import random
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.torture.__main__ import prepare
from tests.torture.case import SHORT


@pytest.fixture(scope="session")
def made(shared: Path) -> Path:
    """A project in which the stage of the short forms and all that a pull asks for have run, once. To be copied."""
    project = shared / "torture"
    with FileLock(shared / "torture.lock"):
        if not project.exists():
            prepare(shared / "torture-unfinished", SHORT, "evaluate_baseline", variants=("quantized",)).rename(project)
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project", symlinks=True))


@pytest.fixture
def dice() -> random.Random:
    return random.Random()
