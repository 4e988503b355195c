"""A sweep's files and table."""

import json
from pathlib import Path

import pandas as pd
import pytest

from stages.captioner.command_line import InputError
from stages.page.sweeps import Failed, Measured, Sweep, read_sweeps
from stages.sweep.curve import check_free, print_curve, to_row, write_curve
from tests.page.pages import WHOSE

FAILED = Failed(value=64, failed="beams is 64 [bold]: ask for fewer")


def sweep(*values: Measured | Failed) -> Sweep:
    return Sweep(knob="decoding.beams", provenance=WHOSE, values=list(values))


def row(value: float, checkpoint: str) -> Measured:
    benchmark = {"checkpoint_mb": 6.5, "pairs": 9}
    for name in ("speedup", "latency_ms"):
        benchmark |= {name: value, f"{name}_ci_low": value - 1, f"{name}_ci_high": value + 1}
    quality = {"kl": 0.1, "kl_ci_low": 0.0, "kl_ci_high": 0.2, "images": 4}
    return to_row(value, checkpoint, {"benchmark": benchmark, "quality": quality})


def test_a_row_has_size_and_what_has_an_interval() -> None:
    own = row(2, "quantized")
    assert own.model_dump().keys() == {"value", "checkpoint", "checkpoint_mb"} | {
        f"{name}{part}" for name in ("speedup", "latency_ms", "kl") for part in ("", "_ci_low", "_ci_high")
    }


def test_the_files_hold_every_value_and_a_picture_of_those_that_did_not_fail(tmp_path: Path) -> None:
    rows = [row(value, checkpoint) for value in (1, 2) for checkpoint in ("baseline", "quantized")]
    own = sweep(*rows, FAILED)
    write_curve(own, tmp_path)
    assert json.loads((tmp_path / "decoding.beams.json").read_text()) == {
        "knob": "decoding.beams",
        "provenance": WHOSE.model_dump(),
        "values": [*(row.model_dump() for row in rows), {"value": 64, "failed": FAILED.failed}],
    }
    assert read_sweeps(tmp_path) == {"decoding.beams.json": own}
    table = pd.read_csv(tmp_path / "decoding.beams.csv")
    assert set(table["whose"]) == {"demo on A CPU 1/2/3 avx2 x2"}
    assert list(table["value"]) == [1, 1, 2, 2, 64] and table["failed"].notna().sum() == 1
    assert (tmp_path / "decoding.beams.png").read_bytes().startswith(b"\x89PNG")

    write_curve(sweep(FAILED), tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".json"], "a picture of another sweep"


def test_the_table_names_failures_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_curve(sweep(row(1, "baseline"), FAILED))
    printed = capsys.readouterr().out
    assert "1.00 (0.00–2.00)" in printed
    assert "64 failed: beams is 64 [bold]: ask for fewer" in printed


def test_a_figure_that_is_no_number_fails_its_value(tmp_path: Path) -> None:
    figures = {
        "benchmark": {f"{name}{end}": 1.0 for name in ("speedup", "latency_ms") for end in ("", "_ci_low", "_ci_high")},
        "quality": {"kl": float("nan"), "kl_ci_low": 0.0, "kl_ci_high": 0.2},
    }
    figures["benchmark"]["checkpoint_mb"] = 6.5
    with pytest.raises(InputError, match=r"figures of quantized can't be used \(kl: Input should be a finite number"):
        to_row(1, "quantized", figures)


@pytest.mark.parametrize("ending", [".json", ".csv", ".png"])
def test_a_folder_in_the_place_of_a_file_is_found_before_anything_runs(tmp_path: Path, ending: str) -> None:
    check_free("decoding.beams", tmp_path)
    (tmp_path / f"decoding.beams{ending}").mkdir()
    with pytest.raises(InputError, match=rf"decoding\.beams\{ending} is no file.*: delete it"):
        check_free("decoding.beams", tmp_path)
