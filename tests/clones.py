"""Clones of this project in which something was timed on this machine, as pages of machines' files take them in."""

from pathlib import Path
from typing import Any

from stages.records.machine import describe_machine
from stages.records.metrics import write_metrics
from tests.projects import commit, shell


def write_clone(folder: Path, found: dict[str, Any], times: Path) -> Path:
    """One with what was found, in the file `times` of it."""
    folder.mkdir()
    write_metrics(found | {"machine": describe_machine()}, folder / times)
    shell(folder, "git", "init", "-q")
    commit(folder)
    return folder
