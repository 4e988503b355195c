"""What becomes of a stage whose DVC was killed."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

CHILD = "import stages, time; print('started', flush=True); time.sleep(3); print('survived', flush=True)"


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> "subprocess.Popen[str]":
    """A shell that runs something of `stages` with these variables in its environment."""
    return subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1"; true', sys.executable, CHILD],
        cwd=PROJECT,
        env=os.environ | request.param,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("parent", "said"),
    [({"DVC_STAGE": "report"}, ""), ({}, "survived\n")],
    indirect=["parent"],
    ids=["DVC", "a person"],
)
def test_a_stage_ends_with_its_dvc_and_what_a_person_starts_does_not(
    parent: "subprocess.Popen[str]", said: str
) -> None:
    assert parent.stdout
    assert parent.stdout.readline() == "started\n"
    parent.kill()
    assert parent.stdout.read() == said  # until the child, which has the other end, is gone
    parent.wait()
