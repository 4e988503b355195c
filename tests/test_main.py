"""A stage as DVC runs it, by its name; tests/long/setup/test_environment.py tries where else and how."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT


def test_a_stage_runs_by_its_name_and_writes_its_report(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    process = subprocess.run([sys.executable, PROJECT / "stages", "peaks"], cwd=tmp_path, capture_output=True)
    assert process.returncode == 0, process.stderr
    peaks = json.loads((tmp_path / "reports/peaks.json").read_text())
    assert min(peaks["gops"].values()) > 0


@pytest.mark.parametrize("stage", ["optimize", "evaluate", "benchmark"])
def test_a_variant_that_is_not_there_is_named(stage: str, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    command = [sys.executable, PROJECT / "stages", stage, "mistyped"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 1 and len(process.stderr.splitlines()) == 1, process.stderr
    assert process.stderr.startswith("error: ") and "mistyped" in process.stderr
