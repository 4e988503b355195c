import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stages.archives import page
from stages.archives.page import MEASUREMENT, Corpus, arithmetic, section
from stages.archives.speed import TIMES
from stages.page.kept import read_kept
from stages.page.machine_files import PAGE, file_name, gather, with_part
from tests.clones import write_clone
from tests.conftest import PROJECT, RunStage, assert_one_sentence
from tests.page.test_machines import HARDWARE


def figures(name: str, value: float) -> dict[str, float]:
    return {f"{name}{end}": value * factor for end, factor in (("", 1.0), ("_ci_low", 0.75), ("_ci_high", 1.25))}


def rate(per_second: float, **more: float) -> dict[str, float]:
    return figures("pictures_per_second", per_second) | figures("speedup", per_second) | more


def archive(pictures: int, seconds: float) -> dict[str, float]:
    return {"pictures": pictures, "seconds": seconds, "peak_memory_mb": 1800.0, "written_bytes_per_picture": 80.0}


RECORD: dict[str, Any] = {
    "commit": "0123456789" * 4,
    "date": "2026-11-29",
    "sessions": 3,
    "new_tokens": 10,
    "machine": HARDWARE,
    "full_size": {
        "loop": rate(1.0),
        "all_cores": rate(8.0),
        "per_core": rate(12.0),
        "ray": rate(10.0, **figures("ratio_to_best", 0.8), **figures("seconds_beside", 12.0)),
    },
    "demo": [archive(1000, 20.0), archive(100, 14.0)],
}


def record(**changes: Any) -> Corpus:
    return Corpus.model_validate_json(json.dumps(RECORD | changes))


def test_the_page_has_the_section_of_the_files() -> None:
    text = (PROJECT / PAGE).read_text(encoding="utf-8")
    files = read_kept(PROJECT / page.CORPUS, Corpus, "measurement")
    assert text == with_part(MEASUREMENT, text, files), "make it anew with `python -m stages.archives.page`"
    assert all(name == file_name(own) for name, own in files.items())


def test_ways_and_archives_have_rows() -> None:
    own = record()
    lines = section({file_name(own): own}).splitlines()
    assert f"(corpus/{file_name(own)}), 0123456, 2026-11-29:" in lines[1]
    assert lines[5].endswith("one picture at a time | 1.00 (0.75–1.25) | 1 |")
    assert lines[8] == "| `blip-on-cpu-corpus`, once it runs | 10.00 (7.50–12.50) | 10.0 (7.5–12.5) |"
    assert (
        "Through Ray, that is 0.80 (0.60–1.00) times what processes without it reach at best; its start and end take "
        "12.0 (9.0–15.0) s beside." in lines
    )
    assert lines.index("| 100 | 14.0 s | 1800 MB |") < lines.index("| 1,000 | 20.0 s | 1800 MB |")
    assert section({}) == ""


def test_a_hundred_million_pictures_go_by_what_was_measured() -> None:
    said = arithmetic(record())
    assert "100,000,000 ÷ 10 a second ÷ 3600 = 2,778 hours" in said and "(2 cores)" in said
    assert "100 of them take 28 hours" in said and "write 8.0 GB" in said and "100 MB a second" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "me"},
        {"sessions": 1},
        {"demo": [archive(100, 14.0)]},
        {"demo": [archive(0, 14.0), archive(1, 14.0)]},
        {"full_size": RECORD["full_size"] | {"loop": rate(1.0, speedup_ci_low=2.0)}},
        {"full_size": RECORD["full_size"] | {"quickest": rate(1.0)}},
        {"full_size": RECORD["full_size"] | {"ray": rate(10.0, **figures("ratio_to_best", 0.8))}},
        {"full_size": {"loop": rate(1.0)}},
    ],
)
def test_what_is_no_measurement_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**changes)


FOUND = {key: RECORD[key] for key in ("sessions", "new_tokens", "full_size", "demo")}


def test_what_was_timed_is_kept_and_shown(tmp_path: Path, run_stage: RunStage) -> None:
    clone, project = write_clone(tmp_path / "clone", FOUND, TIMES), tmp_path / "project"
    (project / "reports").mkdir(parents=True)
    (project / PAGE).write_text("# Mine\n\n<!-- corpus: made by `make corpus-load` -->\n\n<!-- end of corpus -->\n")
    assert (done := run_stage("archives.page", clone, cwd=project)).returncode == 0, done.stderr
    own = gather(MEASUREMENT, clone)
    assert read_kept(project / page.CORPUS, Corpus, "measurement") == {file_name(own): own}
    assert f"(corpus/{file_name(own)})" in (project / PAGE).read_text()
    assert_one_sentence(run_stage("archives.page", tmp_path, cwd=project), "nothing was timed", "make corpus-load")


def test_what_a_capped_machine_timed_is_kept_beside_what_it_timed_uncapped(tmp_path: Path) -> None:
    uncapped = gather(MEASUREMENT, write_clone(tmp_path / "uncapped", FOUND, TIMES))
    clone = write_clone(tmp_path / "clone", FOUND, TIMES)
    found = json.loads((clone / TIMES).read_text())
    found["machine"]["caps"] = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    (clone / TIMES).write_text(json.dumps(found))
    own = gather(MEASUREMENT, clone)
    assert file_name(own) == file_name(uncapped).replace(".json", "-capped-onednn-avx2.json")
    assert "capped: onednn AVX2" in section({file_name(own): own})
