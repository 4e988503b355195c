"""Whether figures belong to what lies beside them, by DVC's own records."""

import json
import os
import subprocess
import sys
from pathlib import Path

from stages.captioner.command_line import InputError


def stages_to_rerun(checkout: Path, stages: list[str]) -> list[str]:
    """Of these stages, sorted, those whose code, settings, inputs or outputs are not what they were when they last ran.

    Raises InputError if the folder is no checkout of this project, or its dvc.yaml has no such stage.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json", *stages]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}  # which DVC would send from where it finds no project
    process = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"DVC can't tell the state of {checkout}: run this in a checkout of this project")
    return sorted(json.loads(process.stdout))
