import sys
from pathlib import Path

import pytest

from stages.captioner.runtimes.helpers import cgroup_limit
from tests.captioner.runtimes.test_cores import write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/job", {"job/pids.max": "100", "job/pids.current": "97"}, "100, of which 97 "),
        ("0::/job", {"job/pids.max": "max", "job/pids.current": "97"}, None),
        ("0::/", {}, None),
        (
            "0::/pod/job",
            {
                "pod/job/pids.max": "500",
                "pod/job/pids.current": "10",
                "pod/pids.max": "1000",
                "pod/pids.current": "998",
            },
            "1000, of which 998 ",
        ),
        ("0::/../outside", {"pids.max": "8", "pids.current": "8"}, "8, of which 8 "),
        ("9:cpu:/a\n8:pids:/host/path\n0::/", {"pids/pids.max": "50", "pids/pids.current": "1"}, "50, of which 1 "),
        ("8:rdma,pids:/a", {"rdma,pids/a/pids.max": "50", "rdma,pids/a/pids.current": "1"}, "50, of which 1 "),
        ("8:cpuset:/a", {"cpuset/a/pids.max": "50", "cpuset/a/pids.current": "1"}, None),
        ("a sandbox's own words\n:\n", {"pids.max": "many"}, None),
    ],
)
def test_the_cgroup_s_limit_that_leaves_least_room_is_named(
    tmp_path: Path, own: str, files: dict[str, str], limit: str | None
) -> None:
    write(tmp_path, {"own": own})
    write(tmp_path / "mounted", files)
    said = cgroup_limit(tmp_path / "own", tmp_path / "mounted")
    assert len(said) == (limit is not None)
    assert not said or said[0].startswith(f"pids.max of its cgroup is {limit}are taken (")


def test_a_limit_that_nobody_can_read_is_not_passed_over(tmp_path: Path) -> None:
    assert cgroup_limit(tmp_path / "absent", tmp_path) == ["pids.max of its cgroup can't be read here"]
