"""The commands of models/README.md for sharing checkpoints, and projects that follow them."""

from pathlib import Path

import pytest

from tests.projects import shell
from tests.readmes import code_blocks

BLOCKS = code_blocks("models/README.md", "Share checkpoints", "sh")
KINDS = {block[2:].splitlines()[0].partition(",")[0].partition(";")[0]: block for block in BLOCKS if block[0] == "#"}
PUBLISH = next(block for block in BLOCKS if "git push\n" in block)


def follow(project: Path, block: str, places: dict[str, str]) -> str:
    """Runs a block of the README, with servers of this test in place of its examples."""
    for example, place in places.items():
        assert example in block
        block = block.replace(example, place)
    return shell(project, "bash", "-ec", block)


def publish(project: Path) -> Path:
    """Runs what the README says to do once there is a remote; returns the Git repository that it pushes to."""
    origin = project.parent / "origin.git"
    shell(project, "git", "clone", "-q", "--bare", ".", str(origin))
    shell(project, "git", "remote", "add", "origin", str(origin))
    shell(project, "git", "config", "push.autoSetupRemote", "true")
    for role in ("name", "email"):
        shell(project, "git", "config", f"user.{role}", "test@localhost")
    shell(project, "bash", "-ec", PUBLISH)
    return origin


def clone(origin: Path, name: str = "colleague") -> Path:
    shell(origin.parent, "git", "clone", "-q", str(origin), name)
    return origin.parent / name


def bytes_of(checkpoint: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in checkpoint.iterdir()}


def fails(project: Path, *command: str) -> str:
    """What a command says that must fail."""
    with pytest.raises(AssertionError) as failure:
        shell(project, *command)
    said = str(failure.value)
    assert "Traceback" not in said
    return said
