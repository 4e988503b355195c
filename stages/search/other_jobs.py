"""Whether other jobs take the cores that times are to be of."""

import os
import time
from pathlib import Path

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.cores import allowed_cpus, usable_cores

STAT = Path("/proc/stat")
WATCHED_SECONDS = 2.0
# Of the usable cores: what a quiet system's own housekeeping stays below.
MOST = 0.1
IDLE = (3, 4)  # idle, and idle while a disk is waited for; the kernel's proc(5) has the columns


def check_alone() -> str | None:
    """Raises InputError if other jobs take the cores. Returns why nobody knows, where the system doesn't tell."""
    taken = cores_of_others(WATCHED_SECONDS)
    if taken is None:
        return f"{STAT} doesn't tell what other processes take of the cores"
    cores = usable_cores()
    if taken > MOST * cores:
        raise InputError(
            f"other jobs take {taken:.1f} of the {cores} cores, so times would be theirs as well: wait until they are "
            "done, or end them, and run this again"
        )
    return None


def cores_of_others(seconds: float, stat: Path = STAT) -> float | None:
    """How many cores' worth of time other processes took of the CPUs that this one may use, watched for so long, while
    this one's children waited. None where the system doesn't tell."""
    cpus = allowed_cpus()
    busy, total, own, start = *_ticks(stat, cpus), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    later_busy, later_total = _ticks(stat, cpus)
    elapsed = time.perf_counter() - start
    if later_total <= total:
        return None
    taken = (later_busy - busy) / os.sysconf("SC_CLK_TCK")
    return max(0.0, (taken - (time.process_time() - own)) / elapsed)


def _ticks(stat: Path, cpus: set[int]) -> tuple[int, int]:
    """The kernel's ticks that some CPUs were busy for, and all; of a machine that a guest may have been given to others
    by, their share counts as busy."""
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii", errors="replace").splitlines()]
        counted = [list(map(int, line[1:9])) for line in lines if line and line[0] in {f"cpu{cpu}" for cpu in cpus}]
    except (OSError, ValueError):
        return 0, 0
    total = sum(map(sum, counted))
    return total - sum(ticks[column] for ticks in counted for column in IDLE if column < len(ticks)), total
