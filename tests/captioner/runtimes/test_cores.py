import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.captioner.runtimes.cores import count_cores, cpu_quota, usable_cores


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    topology = {f"cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)}
    cpus = write(tmp_path, topology)
    assert count_cores(set(range(8)), cpus) == 4
    assert count_cores({0, 4}, cpus) == 1
    assert count_cores({0, 1, 6}, cpus) == 3


def test_a_system_that_tells_nothing_of_cores_has_as_many_as_cpus(tmp_path: Path) -> None:
    assert count_cores({0, 1, 2}, tmp_path) == 3


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/", {}, float("inf")),
        ("0::/user/job", {"user/job/cpu.max": "400000 100000", "user/cpu.max": "200000 100000"}, 2),
        ("0::/../outside", {"cpu.max": "300000 100000"}, 3),
        ("4:memory:/a\n3:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "50000"}, float("inf")),
        (
            "4:memory:/a\n3:cpu,cpuacct:/a",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "50000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("3:cpu:/host/path", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ("3:cpu:/host/path", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
    ],
)
def test_the_tightest_quota_of_a_cgroup_and_those_around_it_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float
) -> None:
    write(tmp_path, {"own": own})
    write(tmp_path / "mounted", files)
    assert cpu_quota(tmp_path / "own", tmp_path / "mounted") == quota
    assert cpu_quota(tmp_path / "absent", tmp_path / "mounted") == float("inf")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't confine a process to some CPUs")
def test_a_process_confined_to_one_cpu_has_one_core() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from stages.captioner.runtimes.cores import usable_cores; print(usable_cores())"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout == "1\n"
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
