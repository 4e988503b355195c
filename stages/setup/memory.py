"""How much memory a process may still take."""

from pathlib import Path

import psutil

from stages.captioner.runtimes.cgroups import CGROUPS, OWN_CGROUPS, folders_of, read

# The limit, what is taken, and the line of memory.stat that tells how much of that the system gives back when asked:
# of the second version of cgroups and of the first.
FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes() -> float:
    """What the system has to give, and no more than the cgroup of this process and those around it leave it; infinite
    where nobody tells."""
    return min([_left_by_system(), *left_by_cgroups(OWN_CGROUPS, CGROUPS)])


def _left_by_system() -> float:
    try:
        return psutil.virtual_memory().available
    except OSError:  # a sandbox that hides /proc/meminfo
        return float("inf")


def left_by_cgroups(own: Path, mounted: Path) -> list[int]:
    """The bytes that each cgroup with a limit leaves, see `folders_of`."""
    left = []
    for folder in folders_of("memory", own, mounted):
        for limit, taken, given_back in FILES:
            numbers = [read(folder / limit), read(folder / taken), _entry(read(folder / "memory.stat"), given_back)]
            if all(number.isdecimal() for number in numbers):
                most, held, back = map(int, numbers)
                left.append(max(0, most - held + back))
    return left


def _entry(stat: str, name: str) -> str:
    """A number of memory.stat, as text; 0 where it is not told."""
    return next((line.split()[-1] for line in stat.splitlines() if line.startswith(f"{name} ")), "0")
