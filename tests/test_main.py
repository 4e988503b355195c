"""A stage as DVC runs it, by its name; tests/long/setup/test_environment.py tries where else and how."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT


def test_a_stage_runs_by_its_name_and_writes_its_report(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    process = subprocess.run([sys.executable, PROJECT / "stages", "peaks"], cwd=tmp_path, capture_output=True)
    assert process.returncode == 0, process.stderr
    peaks = json.loads((tmp_path / "reports/peaks.json").read_text())
    assert min(peaks["gops"].values()) > 0
