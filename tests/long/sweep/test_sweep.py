"""`python -m stages.sweep` as people run, kill and repeat it: real DVC and Git, with stages that take no time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from PIL import Image

from stages.records.machine import describe_machine, name_machine
from stages.records.provenance import MADE_BY, digest, digest_code
from tests.conftest import PROJECT, assert_one_sentence
from tests.projects import commit, shell
from tests.sweep.pipeline import DVC_YAML, WHOSE
from tests.test_dataset import save_photos

OF_WHAT = ("model", "weights", "pictures")
AMOUNT = "variants.pruned_quantized.prune.amount"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stages of `tests.sweep.pipeline` say what they did, and are told what to do."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.setenv("OUTSIDE", str(folder))
    return folder


@pytest.fixture(params=["project"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project with pictures that only DVC tracks, and with a change of one and of params.yaml that is not committed:
    what a sweep has to take along and to leave alone. The repository is the first folder of the parameter."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    shutil.copy(PROJECT / "tests/sweep/pipeline.py", folder)
    shutil.copy(PROJECT / ".gitignore", folder)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["model"] = "blip-base"  # no file of it is needed here, as nothing is downloaded
    photos = {"kind": "folder", "images": "data/local/photos", "evaluation": 2, "calibration": 1}
    params["models"]["blip-base"]["dataset"] = photos
    params["variants"] = {"pruned_quantized": params["variants"]["pruned_quantized"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    repository = tmp_path / Path(request.param).parts[0]
    shell(repository, "git", "init", "-q")
    shell(folder, "dvc", "init", "-q", *(["--subdir"] if repository != folder else []))
    save_photos(folder, "0.png", "1.png", "2.png")
    shell(folder, "dvc", "add", "-q", "data/local/photos")
    commit(folder)
    Image.new("RGB", (8, 8), "white").save(folder / "data/local/photos/0.png")
    with (folder / "params.yaml").open("a") as stream:
        stream.write("# not committed\n")
    return folder


def start(project: Path, values: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "stages.sweep", AMOUNT, values]
    author = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **author}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=pipe, stderr=pipe, encoding="utf-8", preexec_fn=_hear_of_ctrl_c
    )


def _hear_of_ctrl_c() -> None:
    """What a script runs in the background, tests included, is started deaf to it, and so is what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def sweep(project: Path, values: str) -> "subprocess.CompletedProcess[str]":
    process = start(project, values)
    output, errors = process.communicate(timeout=500)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def state(project: Path) -> tuple[str, ...]:
    """All of a checkout that a sweep must not change, apart from its own reports."""
    return (
        (project / "params.yaml").read_text(),
        str([path.read_bytes() for path in sorted((project / "data/local/photos").iterdir())]),
        shell(project, "git", "status", "--porcelain", "--", ".", ":!reports/sweeps"),
        shell(project, "git", "rev-parse", "--symbolic-full-name", "HEAD"),
        shell(project, "git", "stash", "list"),
        str(sorted(path.name for path in project.iterdir() if path.name != "reports")),
    )


def wait_while_running(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def read_curve(project: Path) -> list[dict[str, object]]:
    curve = json.loads((project / f"reports/sweeps/{AMOUNT}.json").read_text())
    own = curve["provenance"]
    assert curve["knob"] == AMOUNT and own["machine"] == name_machine(describe_machine())
    assert {key: own[key] for key in OF_WHAT} == {key: WHOSE[key] for key in OF_WHAT}, "not what was measured"
    assert own["host"] == digest(describe_machine()) and own["code"] == digest_code(*MADE_BY)
    return list(curve["values"])


def test_a_value_that_fails_is_named_and_tried_again_and_the_others_stand(project: Path, outside: Path) -> None:
    before = state(project)
    (outside / "broken").write_text("0.5")
    first = sweep(project, "0.5,0.25")
    assert_one_sentence(first, "1 of 2 values failed (0.5)")
    done, failed = read_curve(project)
    assert done["value"] == 0.25 and done["checkpoint"] == "pruned_quantized" and done["checkpoint_mb"] == 6.5
    assert (done["speedup"], done["speedup_ci_low"], done["cider"], done["cider_ci_high"]) == (1.25, 1.15, 4.75, 4.85)
    assert failed == {"value": 0.5, "failed": "the machine is on fire: put it out"}
    assert "the machine is on fire" in first.stdout and "1.25 (1.15–1.35)" in first.stdout
    assert state(project) == before

    (outside / "broken").unlink()
    second = sweep(project, "0.25,0.5")
    assert second.returncode == 0, second.stderr
    assert [row["speedup"] for row in read_curve(project)] == [1.25, 1.5]
    ran = (outside / "ran").read_text().splitlines()
    assert sorted(ran) == sorted(
        [
            "evaluate baseline 0.0",  # its metrics are not in Git, and it ran once all the same
            *(f"optimize pruned_quantized {value}" for value in (0.25, 0.5)),
            *(f"{stage} pruned_quantized {value}" for stage in ("evaluate", "benchmark") for value in (0.25, 0.5, 0.5)),
        ]
    )
    table = pd.read_csv(project / f"reports/sweeps/{AMOUNT}.csv")
    assert list(table["speedup"]) == [1.25, 1.5]
    assert set(table["whose"]) == {f"blip-base on {name_machine(describe_machine())}"}
    assert (project / f"reports/sweeps/{AMOUNT}.png").read_bytes().startswith(b"\x89PNG")
    assert state(project) == before and not (project / ".dvc/tmp/sweep/clone").exists()

    _, second_name = sorted(shell(project, "dvc", "exp", "list", "--name-only").split())
    assert second_name.startswith("pruned_quantized.prune.amount=0.5_")
    shell(project, "dvc", "exp", "apply", second_name)
    assert json.loads((project / "models/pruned_quantized").read_text())["value"] == 0.5


def test_killed_it_leaves_the_checkout_as_it_was_and_goes_on_where_it_stopped(project: Path, outside: Path) -> None:
    before = state(project)
    ran, hold = outside / "ran", outside / "hold"
    benchmark = "benchmark pruned_quantized 0.25\n"
    hold.touch()
    interrupted = start(project, "0.25,0.5")
    wait_while_running(interrupted, lambda: ran.exists() and ran.read_text().endswith(benchmark))
    started = psutil.Process(interrupted.pid).children(recursive=True)
    interrupted.send_signal(signal.SIGINT)
    output, _ = interrupted.communicate(timeout=500)
    assert interrupted.returncode == 130 and "the same command goes on" in output
    assert started and not psutil.wait_procs(started, timeout=100)[1], "what it started goes on without it"
    assert state(project) == before

    ran.unlink()
    killed = start(project, "0.25,0.5")
    wait_while_running(killed, lambda: ran.exists() and ran.read_text().endswith(benchmark))
    killed.kill()
    killed.communicate(timeout=500)
    assert state(project) == before

    resumed = start(project, "0.25,0.5")
    assert resumed.stdout and "waiting for its end" in resumed.stdout.readline()
    hold.unlink()
    output, errors = resumed.communicate(timeout=500)
    assert resumed.returncode == 0, errors
    assert "_" in output and "done before" in output
    assert [row["speedup"] for row in read_curve(project)] == [1.25, 1.5]
    assert ran.read_text().count(benchmark) == 1, "the value that outlived its sweep was not taken over"
    assert ran.read_text().count("evaluate baseline") == 1
    assert state(project) == before


@pytest.mark.parametrize("project", ["all our work/team/captions"], indirect=True)
def test_a_project_in_a_larger_repository_is_swept_as_any_other(project: Path, outside: Path) -> None:
    neighbour = project.parents[1] / "neighbour.txt"
    neighbour.write_text("not of this project, and not committed")
    shell(project, "git", "add", str(neighbour))
    before = state(project)
    process = sweep(project, "0.25")
    assert process.returncode == 0, process.stderr + process.stdout
    assert [row["speedup"] for row in read_curve(project)] == [1.25]
    assert state(project) == before
    again = sweep(project, "0.25")
    assert again.returncode == 0 and "done before" in again.stdout, again.stderr
    [name] = shell(project, "dvc", "exp", "list", "--name-only").split()
    commit(project)
    shell(project, "dvc", "exp", "apply", name)
    assert json.loads((project / "models/pruned_quantized").read_text())["value"] == 0.25


def test_a_project_whose_dvc_folder_is_not_in_git_is_one_sentence(project: Path) -> None:
    shell(project, "git", "rm", "-r", "-q", "--cached", ".dvc")
    shell(project, "git", "commit", "-q", "-m", "without .dvc")
    before = state(project)
    assert_one_sentence(sweep(project, "0.25"), ".dvc/config is not in Git")
    assert state(project) == before
