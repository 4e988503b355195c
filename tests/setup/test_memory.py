from pathlib import Path

import pytest

from stages.setup.memory import available_bytes, left_by_cgroups


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        ("0::/", {}, []),
        ("0::/", {"memory.max": "max", "memory.current": "100"}, []),
        ("0::/", {"memory.max": "1000", "memory.current": "300"}, [700]),
        ("0::/", {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 1\ninactive_file 500"}, [600]),
        ("0::/", {"memory.max": "1000", "memory.current": "1200"}, [0]),
        (
            "0::/user/job",
            {
                "user/job/memory.max": "5000",
                "user/job/memory.current": "10",
                "user/memory.max": "1000",
                "user/memory.current": "10",
            },
            [4990, 990],
        ),
        (
            "3:cpu:/a\n4:memory:/a",
            {
                "memory/a/memory.limit_in_bytes": "1000",
                "memory/a/memory.usage_in_bytes": "400",
                "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 100",
            },
            [700],
        ),
    ],
)
def test_cgroups_leave_what_they_allow_but_for_what_is_taken(
    tmp_path: Path, own: str, files: dict[str, str], left: list[int]
) -> None:
    for name, text in {"own": own, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert left_by_cgroups(tmp_path / "own", tmp_path) == left


def test_there_is_some_memory_left() -> None:
    assert available_bytes() > 0
