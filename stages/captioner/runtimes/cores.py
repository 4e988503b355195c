"""How many threads are worth having: the physical cores that this process may use."""

import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
OWN_CGROUPS, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Physical cores, at least one: those that the process's affinity allows, and no more than its cgroup's quota of
    CPU time keeps busy.

    Two threads of one core share its multipliers, and threads beyond a quota make all others wait.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return max(1, int(min(count_cores(allowed, CPUS), cpu_quota(OWN_CGROUPS, CGROUPS))))


def count_cores(allowed: set[int], cpus: Path) -> int:
    """How many cores the allowed CPUs are threads of. Where the system doesn't say, each CPU counts as a core."""
    threads = {cpu: _read(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list") for cpu in allowed}
    return len({siblings or str(cpu) for cpu, siblings in threads.items()})


def cpu_quota(own: Path, mounted: Path) -> float:
    """The CPUs' worth of time that the cgroup of this process and those around it allow; infinite without a limit.

    In a container, the process's own path may be that of the host, while its cgroup is mounted as if it were the top.
    """
    quotas = [float("inf")]
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            continue
        top = mounted / controllers
        below = Path(path.lstrip("/"))
        for folder in (below, *below.parents):
            quotas += [_quota_of(top / folder)]
    return min(quotas)


def _quota_of(folder: Path) -> float:
    limit, _, period = _read(folder / "cpu.max").partition(" ")
    if not period:  # the first version of cgroups
        limit, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() else float("inf")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
