"""Starts OpenVINO so that the process handles signals afterwards as it did before, and in sandboxes at all."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..command_line import InputError
from ..instruction_sets import LINUX_CPU
from .cores import CPUS, allowed_cpus
from .openvino_api import Core


class SignalStack(ctypes.Structure):
    """The C library's stack_t: where a thread runs the handlers that ask for a stack of their own, as Python's do."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


SS_DISABLE = 2
SYNTHETIC = "HWLOC_SYNTHETIC"
HWLOC = {SYNTHETIC, "HWLOC_XMLFILE"}  # the ways to describe a machine to hwloc


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Gives this thread back, after the block, the stack for signal handlers that it had before.

    OpenVINO's CPU plugin sets one of its own when it is loaded, and when it is freed puts back the one that it found:
    of two plugins of which the first is freed first, the second puts back a stack that is gone, and at the next signal
    that it handles, Ctrl-C for instance, the process dies without a word. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    own = SignalStack()
    sigaltstack(None, ctypes.byref(own))
    try:
        yield
    finally:
        # The system refuses one that is too small for the registers that the process has begun to use meanwhile (AMX).
        if sigaltstack(ctypes.byref(own), None) != 0:
            sigaltstack(ctypes.byref(SignalStack(flags=SS_DISABLE)), None)


@contextmanager
def topology_told() -> Iterator[None]:
    """Says within the block where this machine's cores lie, if Linux doesn't, as in gVisor: all beside the same memory.

    OpenVINO's threads ask hwloc, which finds no memory beside any core there, and the process dies of that. It takes a
    description from the environment, which each process asks for once.
    """
    told = HWLOC & os.environ.keys()
    if sys.platform != "linux" or told or any(CPUS.glob("cpu*/topology")):
        yield
        return
    os.environ[SYNTHETIC] = f"numa:1 core:{len(allowed_cpus())} pu:1"
    try:
        yield
    finally:
        del os.environ[SYNTHETIC]


def _says_anything(place: Path) -> bool:
    try:
        return bool(place.read_bytes().strip())
    except OSError:
        return False


def start_core() -> Core:
    """OpenVINO with its CPU plugin loaded.

    Raises InputError where it could never start: it counts cores in one of two places, and reads the second until
    it has found one.
    """
    places = (CPUS / "online", LINUX_CPU)
    if sys.platform == "linux" and not any(map(_says_anything, places)):
        raise InputError(
            f"OpenVINO can't count this machine's cores, as {places[0]} and {places[1]} are hidden from this process: "
            "show it one of them, or take a checkpoint for ONNX Runtime"
        )
    with signal_stack_kept(), topology_told():
        core = Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads it
    return core
