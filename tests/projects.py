"""Copies of this project with small settings, and the commands that tests run in them as users do."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import PROJECT

VARIANTS = ("openvino_int8",)  # of those in params.yaml, enough to see what runs


def own_files() -> list[str]:
    """This project's files as they are now, without what Git is to ignore, also where there is no repository."""
    with tempfile.TemporaryDirectory() as empty:
        shell(Path(empty), "git", "init", "-q")
        places = (f"--git-dir={empty}/.git", f"--work-tree={PROJECT}")
        listing = shell(PROJECT, "git", *places, "ls-files", "-z", "--others", "--exclude-standard")
    return [name for name in listing.split("\0") if name]


def copy_project(target: Path, variants: Sequence[str] = VARIANTS) -> Path:
    """A Git repository with this project's files as they are now, and settings small enough for a test."""
    for name in own_files():
        kept = name.startswith(("reports/search/", "reports/sweeps/", "reports/waterfalls/")) or not name.startswith(
            ("reports/", "tests/")
        )
        if kept and (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target / name)
    recipes = yaml.safe_load((target / "params.yaml").read_text())["variants"]
    change(
        target,
        {
            "variants": {name: recipes[name] for name in variants},
            "models.demo.dataset.evaluation": 10,
            "models.demo.dataset.calibration": 2,
            "evaluation.bootstrap_samples": 100,
            "accept": {"same_caption_at_least": 0.4},  # ten pictures: two may differ (0.44), not all (0.31 at most)
            "models.demo.benchmark_seconds": 0,
            "benchmark.sessions": 2,
            "benchmark.rounds": 4,
            "benchmark.seconds": 0,
            "benchmark.images": 2,
            "benchmark.new_tokens": 4,
        },
    )
    shell(target, "git", "init", "-q")
    commit(target)
    return target


def change(project: Path, values: dict[str, Any]) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for keys, value in values.items():
        *parents, last = keys.split(".")
        group = params
        for key in parents:
            group = group[key]
        group[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def commit(project: Path) -> None:
    shell(project, "git", "add", "--all")
    shell(project, "git", "commit", "-q", "--allow-empty", "-m", "state")


def environment() -> dict[str, str]:
    """What commands find in their environment: the tools that are installed beside Python, and an author for Git."""
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@localhost"}
    return variables


def shell(project: Path, *command: str) -> str:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:  # no pipe, which a daemon might hold open
        process = subprocess.Popen(
            command, cwd=project, env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status: int | str = process.wait(timeout=500)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            status = f"still running after 500 s: {process.wait()}"
        output.seek(0)
        said = output.read()
    assert status == 0, f"{command}: {status}\n{said}"
    return said


def repro(project: Path) -> tuple[list[str], str]:
    """Runs `dvc repro`; returns the stages that ran, sorted, and all that was printed."""
    output = shell(project, "dvc", "repro")
    prefix = "Running stage '"
    return sorted(
        line.removeprefix(prefix).partition("'")[0] for line in output.splitlines() if line.startswith(prefix)
    ), output
