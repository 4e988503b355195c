import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.captioner.runtimes.cores import allowed_cpus
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


# An engine that starts where cores have no topology, and what the process hands on afterwards.
NO_TOPOLOGY = """
import os, sys
from pathlib import Path
from stages.captioner.runtimes import openvino_core
from stages.captioner.runtimes.openvino_core import start_core, topology_told

openvino_core.CPUS = Path(sys.argv[1])
for own in ("", "numa:1 core:7 pu:1"):
    if own:
        os.environ["HWLOC_SYNTHETIC"] = own
    with topology_told():
        print(os.environ["HWLOC_SYNTHETIC"])
    start_core()
    print(os.environ.get("HWLOC_SYNTHETIC"))
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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says in files where its cores lie")
def test_openvino_is_told_where_cores_lie_if_linux_does_not_say_it(tmp_path: Path) -> None:
    """As in gVisor, where it would die: see tests/long/captioner/runtimes/test_hidden_proc.py."""
    (tmp_path / "online").write_text("0-1\n")
    own = "numa:1 core:7 pu:1"
    assert handled(NO_TOPOLOGY, str(tmp_path)).splitlines() == [
        f"numa:1 core:{len(allowed_cpus())} pu:1",
        "None",
        own,
        own,
    ]
    (tmp_path / "cpu0" / "topology").mkdir(parents=True)
    program = NO_TOPOLOGY.replace('os.environ["HWLOC_SYNTHETIC"])', 'os.environ.get("HWLOC_SYNTHETIC"))')
    assert handled(program, str(tmp_path)).splitlines() == ["None", "None", own, own]


# The engine alone: keys and values kept from step to step, their rows in the order of `parents`, and attention to them.
LEFT_BEHIND = """
import os, numpy
from openvino import Core, Model, PartialShape, Type, opset13 as ops
from openvino.op.util import Variable, VariableInfo
x, parents, kept, assigned = ops.parameter([-1, 1, -1, 8], numpy.float32), ops.parameter([-1], numpy.int32), [], []
for name in ("keys", "values"):
    variable = VariableInfo()
    variable.data_shape, variable.data_type, variable.variable_id = PartialShape([-1, 1, -1, 8]), Type.f32, name
    past = ops.read_value(ops.constant(numpy.zeros((1, 1, 0, 8), numpy.float32)), variable := Variable(variable))
    kept.append(ops.concat([ops.gather(past, parents, 0), x], 2))
    assigned.append(ops.assign(kept[-1], variable))
attention = ops.result(ops.scaled_dot_product_attention(x, *kept, causal=False))
model, core = Model(results=[attention], sinks=assigned, parameters=[x, parents], name="kept"), Core()
for _ in range(5):
    core.compile_model(model, "CPU", {"NUM_STREAMS": os.environ["STREAMS"]})
    print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("streams", [0, 1])
def test_openvino_itself_leaves_a_thread_for_each_model_that_keeps_what_it_attends_to(
    streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one stream leaves none, OpenVINO has mended it: take out what `Captioner.close` and README.md say of it."""
    monkeypatch.setenv("STREAMS", str(streams))
    counts = [int(line) for line in handled(LEFT_BEHIND).split()]
    assert [later - earlier for earlier, later in itertools.pairwise(counts)] == [streams] * 4


# A thread that was joined stays in /proc for a moment, so the least of what is counted within a second is taken.
OPENED_OFTEN = """
import os, sys, time
from pathlib import Path
from stages.captioner.runtimes.captioner import open_captioner

def threads_left():
    time.sleep(0.02)
    return len(os.listdir("/proc/self/task"))

threads = int(sys.argv[2])
for _ in range(4):
    with open_captioner(Path(sys.argv[1]), threads) as captioner:
        captioner.caption([])
    print(min(threads_left() for _ in range(50)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["onnx_int8", "openvino_int8"])
def test_what_is_opened_often_leaves_no_more_than_the_engine_does(name: str, threads: int, build: Build) -> None:
    counts = [int(line) for line in handled(OPENED_OFTEN, str(build(name)), str(threads)).split()]
    own_fault = 1 if name == "openvino_int8" and threads > 1 else 0
    assert counts[-1] - counts[0] <= 3 * own_fault
