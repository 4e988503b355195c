"""What lies in reports/sweeps: whatever hands make of it is one sentence or a page."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.page.kept import LARGEST
from stages.page.sweeps import DRAWN, DRAWN_WITH_BASELINE, drawn_curves, read_sweeps
from stages.page.web_page import show_sweep
from stages.page.words import ENDS
from tests.page.pages import WHOSE, assert_refused, make_reports, write

NAME = "decoding.beams.json"
ROW = {"value": 1, "checkpoint": "fast", "speedup": 1.5, "speedup_ci_low": 1.0, "speedup_ci_high": 2.0}
FAILED = {"value": 2, "failed": "out of memory"}
SWEEP = {"knob": "decoding.beams", "provenance": WHOSE.model_dump(), "values": [ROW, FAILED]}


def with_row(**changed: Any) -> bytes:
    return json.dumps(SWEEP | {"values": [ROW | changed]}).encode()


def whose(**changed: Any) -> bytes:
    return json.dumps(SWEEP | {"provenance": WHOSE.model_dump() | changed}).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in SWEEP.items() if name != key}).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a sweep lies, beside all else that a page is made of."""
    make_reports(tmp_path)
    (tmp_path / "reports/sweeps").mkdir()
    return tmp_path / "reports/sweeps" / NAME


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Invalid JSON"),
        (b'{"knob": "decoding.beams"', "Invalid JSON"),
        (b"<<<<<<< HEAD\n{}", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"\x89PNG\r\n\xff", "Invalid JSON"),
        (b" " * (LARGEST + 1), "no file of at most 10 MB"),
        (b"null", "Input should be an object"),
        (b"[]", "Input should be an object"),
        (without("knob"), "knob: Field required"),
        (whose(code=None), "provenance.code: Input should be a valid string"),
        (whose(weights="../models/demo"), "provenance.weights: String should match"),
        (whose(model="<b>"), "provenance.model: a name is"),
        (whose(machine="x" * 10**6), "provenance.machine: String should have at most 200"),
        (whose(of="me"), "provenance.of: Extra inputs"),
        (json.dumps(SWEEP | {"provenance": "demo"}).encode(), "provenance: Input should be"),
        (json.dumps(SWEEP | {"provenance": {}}).encode(), "provenance.settings: Field required"),
        (without("values"), "values: Field required"),
        (json.dumps(SWEEP | {"more": 1}).encode(), "more: Extra inputs"),
        (json.dumps(SWEEP | {"knob": 1}).encode(), "knob: Input should be a valid string"),
        (json.dumps(SWEEP | {"values": {"0": ROW}}).encode(), "values: Input should be a valid array"),
        (json.dumps(SWEEP | {"values": ["x" * 10**6]}).encode(), "values.0."),
        (with_row(value="1"), "value.int: Input should be a valid integer"),
        (with_row(value=None), "value.int: Input should be a valid integer"),
        (with_row(value=10**400), "value: Input should be less"),
        (with_row(checkpoint=["fast"]), "checkpoint: Input should be a valid string"),
        (with_row(checkpoint="_/../.."), "checkpoint: a name is"),
        (with_row(speedup="fast"), "speedup: Input should be a valid number"),
        (with_row(speedup=True), "speedup: Input should be a valid number"),
        (with_row(speedup=None), "speedup: Input should be a valid number"),
        (with_row(speedup=float("nan")), "speedup: Input should be a finite number"),
        (with_row(speedup_ci_high=float("inf")), "speedup_ci_high: Input should be a finite number"),
        (with_row(speedup=10**400), "speedup: Input should be"),
        (with_row(cider={"mean": 1}), "cider: Input should be a valid number"),
        (with_row(failed="and yet measured"), "failed: Input should be a valid number"),
    ],
    ids=lambda own: str(own[:40]),
)
def test_a_damaged_file_is_one_sentence(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    assert_refused(file, read_sweeps, said, "delete it or run the sweep again")


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(NAME)],
    ids=["folder", "pipe", "link to nowhere", "link to itself"],
)
def test_what_is_no_file_is_one_sentence(file: Path, make: Callable[[Path], None]) -> None:
    make(file)
    with pytest.raises(InputError, match=r"beams\.json .*: delete it or run the sweep again"):
        read_sweeps(file.parent)


def test_what_is_left_of_a_sweep_is_a_page(file: Path) -> None:
    file.write_text(json.dumps(SWEEP | {"values": [FAILED]}))
    (file.parent / "none.json").write_text(json.dumps(SWEEP | {"values": []}))
    page = write(file.parents[2]).read_text(encoding="utf-8")
    assert "out of memory" in page and "sweeps/none.json" in page


numbers = st.integers(-(2**63), 2**63) | st.floats(-9e18, 9e18)
names = st.sampled_from(["baseline", "a", "_b"])
keys = st.sampled_from([f"{key}{end}" for key in (*DRAWN, *DRAWN_WITH_BASELINE) for end in ("", *ENDS)])
rows = st.builds(
    lambda figures, value, checkpoint: {**figures, "value": value, "checkpoint": checkpoint},
    st.dictionaries(keys, numbers),
    numbers,
    names,
)


@settings(max_examples=10, phases=[Phase.generate])
@given(st.lists(rows, max_size=4))
def test_whatever_is_read_can_be_drawn(values: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_text(json.dumps(SWEEP | {"values": values}))
        own = read_sweeps(Path(folder))[NAME]
    shown = show_sweep(NAME, own)
    assert [row["value"] for row in shown.values] == [row["value"] for row in values]
    assert len(shown.charts) == len(drawn_curves(own))


def test_an_axis_of_shares_ends_at_its_hundred_percent(file: Path) -> None:
    shares = {0.1: 1.0, 0.3: 0.996, 0.5: 0.964, 0.7: 0.136, 0.9: 0.0}
    values = [{"value": value, "checkpoint": "fast", "same_caption": share} for value, share in shares.items()]
    file.write_text(json.dumps(SWEEP | {"values": values}))
    [(_, chart)] = show_sweep(NAME, read_sweeps(file.parent)[NAME]).charts
    assert ">100 %<" in chart.replace("\n", "") and ">120 %<" not in chart
