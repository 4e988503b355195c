"""Runs the command that captions archives, and looks at it from outside: seconds, memory, and pictures a second."""

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from pyarrow import parquet

from stages.captioner.command_line import InputError

LOOKED_EVERY = 1.0  # seconds, at memory


class Timed(NamedTuple):
    """A run of the command: seconds and, of all its processes together, the most bytes of memory."""

    seconds: float
    peak_memory_bytes: int


def time_command(checkpoint: Path, source: Path, output: Path) -> float:
    """Runs the command once, from its start to its end: seconds. Raises InputError if it fails."""
    started = time.perf_counter()
    _await_success(_start(checkpoint, source, output))
    return time.perf_counter() - started


def watch_command(checkpoint: Path, source: Path, output: Path) -> Timed:
    """Runs the command once and looks at its memory meanwhile, which takes a little of its time. Raises InputError if
    it fails."""
    started = time.perf_counter()
    process = _start(checkpoint, source, output)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process))
        time.sleep(LOOKED_EVERY)
    _await_success(process)
    return Timed(time.perf_counter() - started, peak)


def _start(checkpoint: Path, source: Path, output: Path) -> psutil.Popen:
    arguments = ["--checkpoint", checkpoint, "--images", source, "--output", output]
    command = [sys.executable, "-m", "stages.captioner.commands.corpus", *map(str, arguments)]
    return psutil.Popen(command, stdout=subprocess.DEVNULL)


def _await_success(process: psutil.Popen) -> None:
    if status := process.wait():
        raise InputError(f"{' '.join(process.args)} ended with {status}, and says above why: put that right")


def _memory(process: psutil.Process) -> int:
    """The bytes that a process and all that it started have in use; what they share counts once."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_full_info().pss
        except psutil.NoSuchProcess:  # it has ended
            continue
    return total


def steady_rate(output: Path, workers: int) -> float:
    """Pictures a second once all workers caption: the slope of a line through how many were done when each block of
    them was written, but for each worker's first. Raises InputError if there are too few blocks for that."""
    files = sorted(output.glob("[0-9a-f]*/*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    if len(files) < workers + 2:
        raise InputError(f"{output} has {len(files)} blocks of captions, too few for a rate: caption more pictures")
    done = np.cumsum([parquet.read_metadata(file).num_rows for file in files])
    times = [file.stat().st_mtime for file in files]
    return float(np.polyfit(times[workers:], done[workers:], 1)[0])
