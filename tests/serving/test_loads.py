import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stages.page.kept import read_kept
from stages.page.machine_files import PAGE, file_name, gather, with_part
from stages.serving import load_times, loads
from stages.serving.loads import LOAD_TEST, Serving, tables
from tests.clones import write_clone
from tests.conftest import PROJECT, RunStage, assert_one_sentence
from tests.page.test_machines import HARDWARE


def figures(name: str, value: float) -> dict[str, float]:
    return {f"{name}{end}": value * factor for end, factor in (("", 1.0), ("_ci_low", 0.75), ("_ci_high", 1.25))}


def row(clients: int, batch_size: int, rate: float, **more: float) -> dict[str, float]:
    return {
        **{"clients": clients, "batch_size": batch_size, "requests": 1200},
        **figures("per_second", rate),
        **figures("p50_ms", 1000 * clients / rate),
        **figures("p99_ms", 2000 * clients / rate),
        **more,
    }


RECORD: dict[str, Any] = {
    "commit": "0123456789" * 4,
    "date": "2026-11-29",
    "threads": 2,
    "new_tokens": 10,
    "checkpoint": "fastest",
    "machine": HARDWARE | {"libraries": {"openvino": "2026.4.1"}},
    "loads": [row(4, 1, 8.0), row(4, 8, 12.0, **figures("speedup", 1.5))],
}


def record(**changes: Any) -> Serving:
    return Serving.model_validate_json(json.dumps(RECORD | changes))


def test_the_page_has_the_tables_of_the_files() -> None:
    page = (PROJECT / PAGE).read_text(encoding="utf-8")
    files = read_kept(PROJECT / loads.SERVING, Serving, "load test")
    assert page == with_part(LOAD_TEST, page, files), "make them anew with `python -m stages.serving.loads`"
    assert all(name == file_name(own) for name, own in files.items())


def test_a_table_has_a_row_for_each_server_and_number_of_clients() -> None:
    _, machine, _, _, _, *rows = tables({file_name(record()): record()}).splitlines()
    assert "`fastest`, 2 threads, openvino 2026.4.1, 0123456, 2026-11-29:" in machine and "(serving/" in machine
    assert rows == [
        "| 4 | 1 | 8.00 (6.00–10.00) | 1 | 500 (375–625) | 1,000 (750–1,250) | 1200 |",
        "| 4 | up to 8 | 12.00 (9.00–15.00) | 1.50 (1.12–1.88) | 333 (250–417) | 667 (500–833) | 1200 |",
    ]
    assert tables({}) == loads.NOT_YET


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "me"},
        {"commit": "main"},
        {"loads": []},
        {"loads": [row(0, 1, 8.0)]},
        {"loads": [row(1, 1, 8.0, per_second_ci_low=9.0)]},
        {"loads": [row(4, 8, 12.0)]},
        {"loads": [row(4, 1, 8.0, **figures("speedup", 1.0))]},
        {"machine": HARDWARE | {"libraries": {}}},
        {"machine": HARDWARE | {"libraries": {"openvino": "2026 @ file:///Users/me"}}},
    ],
)
def test_what_is_unknown_or_implausible_is_refused(changes: dict[str, Any]) -> None:
    record()
    with pytest.raises(ValidationError):
        record(**changes)


FOUND = {key: RECORD[key] for key in ("threads", "new_tokens", "checkpoint", "loads")}


def test_what_was_timed_is_kept_and_shown(tmp_path: Path, run_stage: RunStage) -> None:
    clone, project = write_clone(tmp_path / "clone", FOUND, load_times.TIMES), tmp_path / "project"
    (project / "reports").mkdir(parents=True)
    (project / PAGE).write_text("# Mine\n\n<!-- serving: made by `make serve-load` -->\n\n<!-- end of serving -->\n")
    assert (done := run_stage("serving.loads", clone, cwd=project)).returncode == 0, done.stderr
    (name,) = (path.name for path in (project / loads.SERVING).iterdir())
    own = gather(LOAD_TEST, clone)
    assert name == file_name(own) and f"(serving/{name})" in (project / PAGE).read_text()
    assert read_kept(project / loads.SERVING, Serving, "load test") == {name: own}
    before = (project / PAGE).read_text()
    assert run_stage("serving.loads", cwd=project).returncode == 0
    assert (project / PAGE).read_text() == before


def test_nothing_is_written_where_the_marks_or_the_times_are_missing(tmp_path: Path, run_stage: RunStage) -> None:
    clone = write_clone(tmp_path / "clone", FOUND, load_times.TIMES)
    (tmp_path / "reports").mkdir()
    (tmp_path / PAGE).write_text("# Mine\n")
    assert_one_sentence(run_stage("serving.loads", clone, cwd=tmp_path), "lacks the marks")
    assert not (tmp_path / loads.SERVING).exists()
    assert_one_sentence(run_stage("serving.loads", tmp_path, cwd=tmp_path), "nothing was timed", "make serve-load")
