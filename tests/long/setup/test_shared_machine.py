import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("module", "policy"),
    [
        *((name, "PASSIVE") for name in ("evaluate", "optimize", "download", "dataset", "demo.train")),
        *((name, "None") for name in ("benchmark", "timing.worker", "peaks", "caption")),
    ],
)
def test_threads_sleep_while_they_wait_where_nothing_is_timed(module: str, policy: str) -> None:
    """Set before torch is imported, which reads it once."""
    program = f"import os, stages.{module}; print(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-X", "importtime", "-c", program]
    process = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert process.stdout == f"{policy}\n", process.stderr[-1000:]
    if policy == "PASSIVE":
        imported = [line.rpartition("|")[2].strip() for line in process.stderr.splitlines()]
        assert "torch" not in imported[: imported.index("stages.setup.shared_machine")]
