"""The tests. Several processes share them out (pytest-xdist), each of which keeps to one CPU, with all that it starts:
with more threads than CPUs, each would wait for the others'.
"""

import os

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[int(worker.removeprefix("gw")) % len(cpus)]})
