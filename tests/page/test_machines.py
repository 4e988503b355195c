import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.captioner.checkpoint import Manifest, seal
from stages.captioner.command_line import InputError
from stages.page.machines import (
    ALL_MACHINES,
    FIRST_SCREEN,
    MACHINES,
    Figures,
    Machine,
    by_rule_in_force,
    file_name,
    first_table,
    gather,
    main,
    read_machines,
    table,
    with_first_table,
    with_table,
)
from stages.records.machine import describe_machine
from stages.records.metrics import read_metrics, write_metrics
from stages.timing.statistics import SPEEDUP_RULE, estimate_speedup
from tests.conftest import PROJECT
from tests.projects import commit, shell

TIMES = {"speedup": 2.5, "speedup_ci_low": 2.25, "speedup_ci_high": 2.75, "latency_ms": 400.0, "encode_ms": 250.0}
HARDWARE = {
    "cpu": "Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz",
    "cpu_family_model_stepping": "6/79/1",
    "instruction_sets": ["avx2", "avx512_vnni"],
    "cores": 2,
    "threads": 4,
    "usable_cores": 2,
    "memory_gb": 16,
    "operating_system": "Linux 6.8.0",
    "python": "3.12.1",
    "libraries": {"torch": "2.13.0+cpu"},
}
RECORD = {
    "model": "blip-base-untrained",
    "intervals": "dice",
    "commit": "0123456789" * 4,
    "date": "2026-11-25",
    "threads": 2,
    "new_tokens": 10,
    "machine": HARDWARE,
    "checkpoints": {"baseline": TIMES | {"speedup": 1.0, "speedup_ci_low": 0.9, "speedup_ci_high": 1.1}, "fast": TIMES},
}


GRAVITON_3 = {
    "cpu": "ARM neoverse_v1",
    "cpu_family_model_stepping": "0x41/0xd40/1",
    "instruction_sets": ["asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"],
}


def test_an_arm_has_a_row() -> None:
    own = Machine.model_validate(RECORD | {"machine": HARDWARE | GRAVITON_3})
    assert file_name(own).startswith("arm-neoverse-v1-0x41-0xd40-1-")
    assert "ARM neoverse_v1 0x41/0xd40/1" in table({file_name(own): own})
    assert "sve, i8mm, bf16 | 2 |" in table({file_name(own): own})


# What lies in this project


def test_every_machines_file_is_valid_and_the_pages_tables_are_made_of_them() -> None:
    pages = [(PROJECT / path).read_text(encoding="utf-8") for path in (ALL_MACHINES, FIRST_SCREEN)]
    machines = read_machines(PROJECT / MACHINES)
    assert machines
    made = table(machines)
    made_anew = [with_table(pages[0], machines), with_first_table(pages[1], machines)]
    assert made_anew == pages, "make them anew with `python -m stages.page.machines`"
    for name, machine in machines.items():
        assert made.count(f"](machines/{name})") == 1
        assert any(own.speedup > 1 for own in machine.checkpoints.values())
        assert Machine.model_validate_json((PROJECT / MACHINES / name).read_text()) == machine, "by an older rule"
        assert (machine.intervals == SPEEDUP_RULE) == all(
            own.speedup_sessions for own in machine.checkpoints.values()
        ), "what has no sessions can't be by today's rule"
        assert machine.intervals == SPEEDUP_RULE or f"by an older rule ({machine.intervals})" in made


# What a file may hold


def changed(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(RECORD)) | changes


@pytest.mark.parametrize(
    "content",
    [
        changed(user="me"),
        changed(model="demo"),
        changed(intervals="| of | /Users/me |"),
        {key: value for key, value in RECORD.items() if key != "intervals"},
        {key: value for key, value in RECORD.items() if key != "model"},
        changed(checkpoints={"fast": TIMES | {"speedup_sessions": [2.5]}}),
        changed(checkpoints={"fast": TIMES | {"speedup_sessions": [2.5, -1.0]}}),
        changed(checkpoints={"fast": TIMES | {"speedup_sessions": [2.5, math.inf]}}),
        changed(checkpoints={"fast": TIMES | {"speedup_sessions": [2.5] * 1001}}),
        changed(machine=HARDWARE | {"host": "mine"}),
        changed(checkpoints={"fast": TIMES | {"speed": 2.0}}),
        changed(checkpoints={}),
        changed(checkpoints={"../fast": TIMES}),
        changed(commit="main"),
        changed(new_tokens=20),
        changed(checkpoints={"fast": TIMES | {"speedup": 2.8}}),
        changed(checkpoints={"fast": TIMES | {"token_ms": -0.01}}),
        changed(checkpoints={"fast": TIMES | {"encode_ms": 400.0}}),
        changed(machine=HARDWARE | {"memory_gb": 0}),
        *(
            changed(machine=HARDWARE | {key: text})
            for key in ("cpu", "operating_system", "python")
            for text in ("/Users/me/x", "~/x", "C:\\me", "me@host:/x", "| a | b |", "a\nb", "")
        ),
        changed(machine=HARDWARE | {"operating_system": "Linux 6.8.0-of-me"}),
        changed(machine=HARDWARE | {"libraries": {"torch": "2.13 @ file:///Users/me"}}),
    ],
)
def test_what_is_unknown_implausible_or_tells_of_a_user_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    Machine.model_validate(RECORD)
    with pytest.raises(ValidationError):
        Machine.model_validate(content)
    (tmp_path / file_name(Machine.model_validate(RECORD))).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"is not a machine's figures \(.*: correct it") as error:
        read_machines(tmp_path)
    assert len(str(error.value)) <= 500


numbers = st.floats(-1, 10) | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e300])


@given(numbers, numbers, numbers, numbers | st.none())
def test_figures_are_positive_and_within_their_intervals(
    low: float, middle: float, high: float, memory: float | None
) -> None:
    given = {"speedup": middle, "speedup_ci_low": low, "speedup_ci_high": high, "peak_memory_mb": memory}
    valid = 0 < low <= middle <= high < 1e7 and (memory is None or 0 < memory < 1e7)
    try:
        Figures.model_validate(given)
    except ValidationError:
        assert not valid
    else:
        assert valid


def test_a_file_under_another_machines_name_is_refused(tmp_path: Path) -> None:
    own = file_name(Machine.model_validate(RECORD))
    assert own.startswith("intel-r-xeon-r-cpu-e5-2673-v4-2-30ghz-6-79-1-")
    same = HARDWARE | {"libraries": {"torch": "3"}, "python": "3.13.0"}
    assert (
        file_name(Machine.model_validate(changed(machine=same))) == own
    )  # newer versions take the place of older ones
    other = changed(machine=HARDWARE | {"instruction_sets": ["avx2"]})
    (tmp_path / own).write_text(json.dumps(other))
    with pytest.raises(InputError, match=f"rename it to {file_name(Machine.model_validate(other))}"):
        read_machines(tmp_path)


def test_the_table_has_a_column_per_checkpoint_and_a_dash_for_what_was_not_timed() -> None:
    faster = {"speedup": 3.0, "speedup_ci_low": 2.9, "speedup_ci_high": 3.1}
    machine = Machine.model_validate(changed(checkpoints={"a": faster}))
    headings, _, *rows = table({"x.json": machine, "y.json": Machine.model_validate(RECORD)}).splitlines()
    assert rows[2:] == [
        "",
        "(1) Intervals by an older rule (dice), which lacks what a whole run is off by: they are too narrow.",
    ]
    assert headings.endswith("| threads | baseline | fast | a | code |")
    assert rows[0] == (
        "| [Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz 6/79/1](machines/x.json) | avx2, avx512_vnni | 2 "
        "| – | – | **3.00** (2.90–3.10) | 0123456, 2026-11-25 (1) |"
    )
    assert "| **1.00** (0.90–1.10), 0.40 s | **2.50** (2.25–2.75), 0.40 s | – |" in rows[1]


SESSIONS = [2.4, 2.6, 2.5]


def of_sessions(**changes: Any) -> Machine:
    """A machine whose sessions are kept, with intervals by an older rule."""
    return Machine.model_validate(changed(checkpoints={"fast": TIMES | {"speedup_sessions": SESSIONS}}) | changes)


def test_intervals_are_made_anew_by_the_rule_in_force_where_the_sessions_are_kept() -> None:
    now = by_rule_in_force(of_sessions())
    assert now.intervals == SPEEDUP_RULE and now.checkpoints["fast"].latency_ms == TIMES["latency_ms"]
    own = now.checkpoints["fast"]
    expected = estimate_speedup(SESSIONS).entries("speedup", 3)
    assert {key: getattr(own, key) for key in expected} == expected
    assert own.speedup_ci_low < 2.25 and own.speedup_ci_high > 2.75, "without what a whole run is off by"
    assert by_rule_in_force(now) == now
    assert "older rule" not in table({"x.json": now})


def test_what_keeps_no_sessions_keeps_its_rule_and_says_so() -> None:
    own = Machine.model_validate(RECORD)
    assert by_rule_in_force(own) == own
    some = changed(checkpoints={"baseline": TIMES, "fast": TIMES | {"speedup_sessions": SESSIONS}})
    assert by_rule_in_force(Machine.model_validate(some)).intervals == "dice"
    two = {"x.json": own, "y.json": own.model_copy(update={"intervals": "cards"}), "z.json": of_sessions()}
    made = table({name: by_rule_in_force(each) for name, each in two.items()})
    assert [made.count(mark) for mark in ("2026-11-25 (1) |", "2026-11-25 (2) |", "2026-11-25 |")] == [1, 1, 1]
    assert "\n(1) Intervals by an older rule (dice)" in made and "\n(2) Intervals by an older rule (cards)" in made


def test_an_older_file_is_brought_up_to_date_with_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    name = file_name(of_sessions())
    write_metrics(of_sessions().model_dump(mode="json", exclude_none=True), MACHINES / name)
    FIRST_SCREEN.write_text(FIRST_SCREEN.read_text().replace("mine.json", name))
    main(None)
    assert Machine.model_validate_json((MACHINES / name).read_text()) == by_rule_in_force(of_sessions())
    assert "older rule" not in ALL_MACHINES.read_text() + FIRST_SCREEN.read_text()


def test_the_first_table_is_of_the_file_that_it_names() -> None:
    speeds = {"baseline": 1.0, "quantized": 2.0, "openvino_int8": 3.0, "pruned": 9.0}
    checkpoints = {
        name: {"speedup": speed, "speedup_ci_low": speed - 0.25, "speedup_ci_high": speed + 0.25, "latency_ms": 1234.0}
        | ({"peak_memory_mb": 99.6, "checkpoint_mb": 10.2} if name == "quantized" else {})
        for name, speed in speeds.items()
    }
    assert first_table(Machine.model_validate(changed(checkpoints=checkpoints))).splitlines() == [
        "|  | times as fast | a caption takes | memory | on disk |",
        "| --- | --- | --- | --- | --- |",
        "| BLIP as it comes, 32-bit numbers, PyTorch | 1 (noise: 0.75–1.25) | 1.23 s | – | – |",
        "| `quantized`: 8-bit numbers, PyTorch | 2.0 (1.8–2.2) | 1.23 s | 100 MB | 10 MB |",
        "| `openvino_int8`: 8-bit numbers, OpenVINO | **3.0 (2.8–3.2)** | 1.23 s | – | – |",
        "",
        "Intervals by an older rule (dice), which lacks what a whole run is off by: they are too narrow.",
    ]
    assert "older rule" not in first_table(
        Machine.model_validate(changed(intervals=SPEEDUP_RULE, checkpoints=checkpoints))
    )


# What is recorded


def copying(name: str) -> dict[str, Any]:
    """A stage that, in DVC's eyes, times a checkpoint, and in truth copies figures."""
    return {
        "cmd": f"mkdir -p reports/benchmark && for i in json csv; do cp figures.$i reports/benchmark/{name}.$i; done",
        "deps": ["figures.json", "figures.csv", "models/baseline", "reports/host.json"],
        "params": ["model"],
        "outs": [{f"reports/benchmark/{name}.{ending}": {"cache": False}} for ending in ("json", "csv")],
    }


BENCHMARKS = {
    "benchmark_baseline": copying("baseline"),
    "benchmark": {"foreach": ["quantized"], "do": copying("${item}")},
}


def write_baseline(folder: Path) -> None:
    folder.mkdir(parents=True)
    origin = {"untrained": "blip-base", "seed": 0}
    seal(folder, Manifest(origin=origin, recipe={}, passes={}, libraries={}, validated_on=[]))


def write_figures(folder: Path) -> None:
    """What `stages.benchmark` writes of two pairs in each session."""
    write_metrics(TIMES | {"pairs": 6}, folder / "figures.json")
    rows = [f"caption,,{speedup},1.0,{session}" for session, speedup in enumerate(SESSIONS) for _ in range(2)]
    lines = ["measurement,tokens,baseline,checkpoint,session", "start,,9.0,1.0,0", *rows]
    (folder / "figures.csv").write_text("\n".join(lines) + "\n")


def write_project(folder: Path) -> None:
    """A project whose baseline and host are in place, and whose benchmarks copy figures."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    variants = {"quantized": params["variants"]["quantized"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"variants": variants}))
    (folder / "stages").mkdir(parents=True)
    (folder / "stages/code.py").touch()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": BENCHMARKS}))
    (folder / ".gitignore").write_text("/models\n")
    (folder / FIRST_SCREEN).write_text(
        "# Mine\n\n<!-- made by `make machine` of reports/machines/mine.json -->\n\nold\n\n"
        "<!-- end of the first table -->\nrest\n"
    )
    (folder / ALL_MACHINES).parent.mkdir()
    (folder / ALL_MACHINES).write_text(
        "# All\n\n<!-- machines: made by `make machine` -->\n\nold\n\n<!-- end of machines -->\nrest\n"
    )
    write_figures(folder)
    write_metrics(describe_machine(), folder / "reports/host.json")
    write_baseline(folder / "models/baseline")


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `dvc exp run -S model=blip-base-untrained` leaves it. Not to be changed."""
    folder = tmp_path_factory.mktemp("timed")
    write_project(folder)
    shell(folder, "git", "init", "-q")
    shell(folder, "dvc", "init", "-q")
    commit(folder)
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("model: demo", "model: blip-base-untrained"))
    shell(folder, "dvc", "repro", "-q")
    return folder


def test_a_machine_is_recorded_and_the_table_made(timed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    FIRST_SCREEN.write_text(FIRST_SCREEN.read_text().replace("mine.json", file_name(gather(timed))))
    main(timed)
    ((name, machine),) = read_machines(MACHINES).items()
    assert machine.commit == shell(timed, "git", "rev-parse", "HEAD").strip()
    assert machine.checkpoints.keys() == {"baseline", "quantized"}
    expected = TIMES | {"speedup_sessions": SESSIONS} | estimate_speedup(SESSIONS).entries("speedup", 3)
    assert machine.checkpoints["quantized"] == Figures.model_validate(expected)
    assert (machine.model, machine.intervals) == ("blip-base-untrained", SPEEDUP_RULE)
    every, first = pages = [path.read_text() for path in (ALL_MACHINES, FIRST_SCREEN)]
    assert every.startswith("# All\n\n<!--") and every.endswith("|\n\n<!-- end of machines -->\nrest\n")
    assert first.startswith("# Mine\n\n<!--") and first.endswith("|\n\n<!-- end of the first table -->\nrest\n")
    assert "old" not in every + first
    figures = machine.checkpoints["quantized"]
    low, high = figures.speedup_ci_low, figures.speedup_ci_high
    assert every.count(f"(machines/{name})") == 1 and f"**2.50** ({low:.2f}–{high:.2f}), 0.40 s" in every
    assert f"| `quantized`: 8-bit numbers, PyTorch | 2.5 ({low:.1f}–{high:.1f}) | 0.40 s |" in first.replace("**", "")
    main(None)
    assert [path.read_text() for path in (ALL_MACHINES, FIRST_SCREEN)] == pages
    assert not [path for path in tmp_path.rglob("*.unfinished")]


def change_times(project: Path) -> None:
    write_metrics(TIMES | {"speedup": 2.7}, project / "reports/benchmark/quantized.json")


def change_host(project: Path) -> None:
    path = project / "reports/host.json"
    write_metrics(read_metrics(path) | {"cpu": "Another CPU"}, path)


def cap(project: Path) -> None:
    path = project / "reports/host.json"
    write_metrics(read_metrics(path) | {"caps": {"OV_CPU_MAX_ISA": "avx2"}}, path)
    rerun(project)


def rerun(project: Path) -> None:
    shell(project, "dvc", "repro", "-q")


def change_code(project: Path) -> None:
    (project / "stages/code.py").write_text("faster")


def change_settings(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"evaluation": {"bootstrap_samples": 123}}))


def change_model(project: Path) -> None:
    path = project / "models/baseline/checkpoint.json"
    path.write_text(path.read_text().replace('"untrained": "blip-base"', '"folder": "data/demo"'))


def on_another_machine(project: Path) -> None:
    change_host(project)
    rerun(project)


def of_another_model(project: Path) -> None:
    change_model(project)
    rerun(project)


def as_nothing(project: Path) -> None:
    shutil.rmtree(project / ".dvc")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_times, "do not belong together, as benchmark@quantized would have to run again"),
        (change_host, "do not belong together, as benchmark"),
        (change_model, "do not belong together, as benchmark"),
        (on_another_machine, "another machine or other versions, for cpu was Another CPU and is"),
        (cap, "not of all that this machine can do, as OV_CPU_MAX_ISA kept engines"),
        (of_another_model, "of another model than blip-base-untrained"),
        (change_code, "holds changes that its commit"),
        (change_settings, "holds changes that its commit"),
        (as_nothing, "DVC can't tell the state"),
    ],
)
def test_another_machines_or_models_figures_are_never_recorded(
    timed: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    project = tmp_path / "project"
    shutil.copytree(timed, project)
    spoil(project)
    with pytest.raises(InputError, match=message):
        gather(project)


@pytest.mark.parametrize(
    ("path", "page", "message"),
    [
        (ALL_MACHINES, "# Mine\n", "reports/README.md lacks the marks between which its table of machines stands"),
        (FIRST_SCREEN, "# Mine\n", "^README.md lacks the marks between which its table of machines stands: restore"),
        (FIRST_SCREEN, None, r"its first table of reports/machines/mine\.json, which is not there: name"),
    ],
)
def test_without_the_marks_nothing_is_written(
    timed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path, page: str | None, message: str
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    if page:
        path.write_text(page)
    before = [path.read_text() for path in (ALL_MACHINES, FIRST_SCREEN)]
    with pytest.raises(InputError, match=message):
        main(timed)
    assert not MACHINES.exists() and [path.read_text() for path in (ALL_MACHINES, FIRST_SCREEN)] == before
