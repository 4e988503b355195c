import itertools
import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT, Build

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are those of Unix")

# With what servers and test programs set up: a stack of their own for a crash's traceback, and a handler.
CLOSED_IN_TURN = """
import faulthandler, os, signal, sys
from pathlib import Path
from stages.captioner.runtimes.captioner import open_captioner

faulthandler.enable()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
captioners = [open_captioner(Path(sys.argv[1])) for _ in range(2)]
for number in map(int, sys.argv[2:]):
    captioners[number].close()
    os.kill(os.getpid(), signal.SIGTERM)
"""
# Two cores at once, the first of which ends first, and what handles signals afterwards.
SAME_STACK = """
import faulthandler, os, signal, sys
from openvino import Core
from stages.captioner.runtimes.openvino_core import signal_stack_kept

if sys.argv[1] == "with a stack":
    faulthandler.enable()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
with signal_stack_kept():
    first, second = Core(), Core()
    first.get_property("CPU", "FULL_DEVICE_NAME")
    second.get_property("CPU", "FULL_DEVICE_NAME")
    del first
    del second
os.kill(os.getpid(), signal.SIGTERM)
"""


def handled(program: str, *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=120
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("order", itertools.permutations("01"))
def test_signals_are_handled_in_whatever_order_checkpoints_are_closed(order: tuple[str, ...], build: Build) -> None:
    assert handled(CLOSED_IN_TURN, str(build("openvino_int8")), *order) == "handled\nhandled\n"


@pytest.mark.parametrize("own", ["with a stack", "without one"])
def test_whatever_a_block_does_with_cores_signals_are_handled_as_before(own: str) -> None:
    assert handled(SAME_STACK, own) == "handled\n"
