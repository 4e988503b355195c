"""`make machine`, in a repository of its own and in a folder of another."""

import shutil
from pathlib import Path

import pytest
import yaml

from stages.page.machines import (
    ALL_MACHINES,
    FIRST_SCREEN,
    FIRST_TABLE,
    MACHINES,
    read_machines,
)
from tests.conftest import PROJECT
from tests.page.test_machines import BENCHMARKS, write_baseline, write_figures
from tests.projects import change, commit, copy_project, shell


@pytest.mark.parametrize("place", ["project", "all our work/team/captions"])
def test_one_command_adds_this_machine_and_leaves_all_else_as_it_was(tmp_path: Path, place: str) -> None:
    project = copy_project(tmp_path / place, variants=("quantized",))
    if place != "project":  # the repository is further up
        (project / ".git").rename(project.parents[1] / ".git")
    change(project, {"benchmark.new_tokens": 10})
    write_baseline(project / "untrained")
    write_figures(project)
    download = {"cmd": "mkdir -p models && cp -r untrained models/baseline", "outs": ["models/baseline"]}
    host = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["host"]
    stages = {"download": download, "host": host, **BENCHMARKS}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    write_baseline(project / "models/baseline")  # the user's own, which stays
    shutil.copytree(PROJECT / MACHINES, project / MACHINES)
    shutil.copy(PROJECT / ALL_MACHINES, project / ALL_MACHINES)
    known = read_machines(project / MACHINES)
    commit(project)
    head = shell(project, "git", "rev-parse", "HEAD").strip()
    params = (project / "params.yaml").read_bytes()
    shell(project, "make", "--old-file=.venv/ready", "ACTIVATE=", "machine")
    inside = shell(project, "git", "rev-parse", "--show-prefix").strip()
    (name,) = [name for name, own in read_machines(project / MACHINES).items() if own.commit == head]
    first = (project / FIRST_SCREEN).read_text(encoding="utf-8")
    is_first = FIRST_TABLE.search(first)["file"] == (MACHINES / name).as_posix()
    assert shell(project, "git", "status", "--porcelain", "--untracked-files=all").splitlines() == [
        *[f" M {inside}{FIRST_SCREEN}"] * is_first,
        f" M {inside}{ALL_MACHINES}",
        f"{' M' if name in known else '??'} {inside}reports/machines/{name}",
    ]
    assert f"(machines/{name})" in (project / ALL_MACHINES).read_text(encoding="utf-8")
    assert (project / "params.yaml").read_bytes() == params
    assert not list((project / ".dvc/tmp").glob("machine*"))
