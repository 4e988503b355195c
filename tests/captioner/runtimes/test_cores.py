import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.captioner.runtimes.cores import allowed_cpus, count_cores, count_useful_cores, cpu_quota, usable_cores


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


BIG_AND_LITTLE = [446] * 4 + [1024] * 4


@pytest.mark.parametrize("name", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
@pytest.mark.parametrize(
    ("speeds", "cores"),
    [
        (BIG_AND_LITTLE, 4),
        ([1024] * 4, 4),
        ([1024, 906, 906, 906, 300, 300, 300, 300], 4),  # the fastest of phones has no twin
        ([1024] * 2 + [512] * 6, 8),  # so many little ones that they do more than the big ones
        ([5_200_000, 5_000_000], 2),  # of one kind, though one may run a little faster
        ([1024], 1),
    ],
)
def test_little_cores_that_would_make_others_wait_do_not_count(
    tmp_path: Path, name: str, speeds: list[int], cores: int
) -> None:
    write(tmp_path, {f"cpu{number}/{name}": str(speed) for number, speed in enumerate(speeds)})
    assert count_useful_cores(set(range(len(speeds))), tmp_path) == cores


def test_of_little_cores_alone_all_count(tmp_path: Path) -> None:
    write(tmp_path, {f"cpu{number}/cpu_capacity": str(speed) for number, speed in enumerate(BIG_AND_LITTLE)})
    assert count_useful_cores({0, 1, 2}, tmp_path) == 3
    assert count_useful_cores({0, 1, 2, 7}, tmp_path) == 4
    assert count_useful_cores({0, 6, 7}, tmp_path) == 2


@pytest.mark.parametrize("speed", ["", "0", "unknown", "-1"])
def test_cores_of_which_the_system_does_not_tell_how_fast_they_are_count(tmp_path: Path, speed: str) -> None:
    write(tmp_path, {"cpu0/cpu_capacity": "1024", "cpu1/cpu_capacity": "1024", "cpu2/cpu_capacity": speed})
    assert count_useful_cores({0, 1, 2}, tmp_path) == 3


@pytest.mark.parametrize("own", ["", "0", "0::", "nonsense", "0::/käse", "\0", "0::/a\0b", ":::::"])
def test_a_cgroup_that_is_told_oddly_is_no_limit(tmp_path: Path, own: str) -> None:
    (tmp_path / "own").write_bytes(own.encode("latin-1"))
    assert cpu_quota(tmp_path / "own", tmp_path / "mounted") == float("inf")


@pytest.mark.parametrize("limit", ["100000 0", "max 100000", "100000", "² 1", ""])
def test_a_quota_that_is_none_is_no_limit(tmp_path: Path, limit: str) -> None:
    write(tmp_path, {"own": "0::/a", "mounted/a/cpu.max": limit})
    assert cpu_quota(tmp_path / "own", tmp_path / "mounted") == float("inf")


@pytest.mark.parametrize("error", [AttributeError, PermissionError])
def test_without_the_system_s_word_on_which_cpus_are_allowed_all_are(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(_: int) -> set[int]:
        raise error

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    assert allowed_cpus() == set(range(os.cpu_count() or 1))
