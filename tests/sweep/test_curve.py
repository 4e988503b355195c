"""A sweep's files and table."""

import json
from pathlib import Path

import pandas as pd
import pytest

from stages.sweep.curve import Row, print_curve, to_row, write_curve

FAILED: Row = {"value": 64, "failed": "beams is 64 [bold]: ask for fewer"}


def row(value: float, checkpoint: str) -> Row:
    benchmark = {"checkpoint_mb": 6.5, "pairs": 9}
    for name in ("speedup", "latency_ms"):
        benchmark |= {name: value, f"{name}_ci_low": value - 1, f"{name}_ci_high": value + 1}
    quality = {"kl": 0.1, "kl_ci_low": 0.0, "kl_ci_high": 0.2, "images": 4}
    return to_row(value, checkpoint, {"benchmark": benchmark, "quality": quality})


def test_a_row_has_size_and_what_has_an_interval() -> None:
    own = row(2, "quantized")
    assert own.keys() == {"value", "checkpoint", "checkpoint_mb"} | {
        f"{name}{part}" for name in ("speedup", "latency_ms", "kl") for part in ("", "_ci_low", "_ci_high")
    }


def test_the_files_hold_every_value_and_a_picture_of_those_that_did_not_fail(tmp_path: Path) -> None:
    rows = [row(value, checkpoint) for value in (1, 2) for checkpoint in ("baseline", "quantized")] + [FAILED]
    write_curve("decoding.beams", rows, "a machine", tmp_path)
    assert json.loads((tmp_path / "decoding.beams.json").read_text()) == {
        "knob": "decoding.beams",
        "machine": "a machine",
        "values": rows,
    }
    table = pd.read_csv(tmp_path / "decoding.beams.csv")
    assert list(table["value"]) == [1, 1, 2, 2, 64] and table["failed"].notna().sum() == 1
    assert (tmp_path / "decoding.beams.png").read_bytes().startswith(b"\x89PNG")

    write_curve("decoding.beams", [FAILED], "a machine", tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".json"], "a picture of another sweep"


def test_the_table_names_failures_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_curve("decoding.beams", [row(1, "baseline"), FAILED])
    printed = capsys.readouterr().out
    assert "1.00 (0.00 to 2.00)" in printed
    assert "64 failed: beams is 64 [bold]: ask for fewer" in printed
