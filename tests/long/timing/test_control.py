import subprocess
import sys

from tests.conftest import PROJECT
from tests.projects import environment


def test_control_times_what_it_is_told_to() -> None:
    command = [sys.executable, "-m", "tests.timing.control", "not-there"]
    ended = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr  # 2 is that of options that can't be read
    assert ended.stderr.startswith("error: "), ended.stderr
