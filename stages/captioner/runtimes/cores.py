"""How many threads are worth having: the physical cores that this process may use."""

import os
from pathlib import Path

from .cgroups import CGROUPS, OWN_CGROUPS, folders_of, read

CPUS = Path("/sys/devices/system/cpu")
# What the system says of a CPU's speed against others': on ARM what a core does in the same time, else its clock.
SPEEDS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")


def usable_cores() -> int:
    """Physical cores, at least one: those that the process's affinity allows, and no more than its cgroup's quota of
    CPU time keeps busy.

    Two threads of one core share its multipliers, and threads beyond a quota make all others wait.
    """
    return max(1, int(min(count_useful_cores(allowed_cpus(), CPUS), cpu_quota(OWN_CGROUPS, CGROUPS))))


def allowed_cpus() -> set[int]:
    """The numbers of the CPUs that this process may run on; all of them where the system doesn't say."""
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):  # no such system, or a sandbox that forbids the question
        return set(range(os.cpu_count() or 1))


def count_cores(allowed: set[int], cpus: Path) -> int:
    """How many cores the allowed CPUs are threads of. Where the system doesn't say, each CPU counts as a core."""
    return len(_cores(allowed, cpus))


def count_useful_cores(allowed: set[int], cpus: Path) -> int:
    """How many of these cores to use: not those that are so slow that the others would wait for them.

    A product's parts are of one size, so k cores are worth k times the slowest of them, and as many are taken, from the
    fastest on, as are worth most. Where the system doesn't say how fast each is, all are.
    """
    speeds = sorted(_speeds(_cores(allowed, cpus)), reverse=True)
    worth = [number * speed for number, speed in enumerate(speeds, start=1)]
    return max(range(len(worth)), key=lambda index: (worth[index], index)) + 1


def _cores(allowed: set[int], cpus: Path) -> list[Path]:
    """One CPU of each core."""
    threads = {cpu: read(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list") for cpu in allowed}
    return [cpus / f"cpu{cpu}" for cpu in {siblings or str(cpu): cpu for cpu, siblings in threads.items()}.values()]


def _speeds(cores: list[Path]) -> list[int]:
    """How fast each core is, in one unit, or 1 for each if the system doesn't tell it of all."""
    for name in SPEEDS:
        told = [read(core / name) for core in cores]
        if all(number.isdecimal() and int(number) for number in told):
            return [int(number) for number in told]
    return [1] * len(cores)


def cpu_quota(own: Path, mounted: Path) -> float:
    """The CPUs' worth of time that the cgroup of this process and those around it allow; infinite without a limit."""
    return min(map(_quota_of, folders_of("cpu", own, mounted)), default=float("inf"))


def _quota_of(folder: Path) -> float:
    limit, _, period = read(folder / "cpu.max").partition(" ")
    if not period:  # the first version of cgroups
        limit, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
    if not (limit.isdecimal() and period.isdecimal() and int(period)):
        return float("inf")
    return int(limit) / int(period)
