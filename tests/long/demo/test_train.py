"""A training of the demo that is killed, and one that is finished."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors import safe_open

from stages.demo.train import FINISHED, STATE, main
from tests.conftest import PROJECT
from tests.demo.test_train import settings_of

# Trains in its own process, to be killed: settings, output, progress.
TRAIN = """
import sys, torch
from pathlib import Path
from stages.demo.train import train
from stages.setup.params import DemoTraining
torch.set_num_threads(1)
train(DemoTraining.model_validate_json(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), 4, 2, 2)
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    settings = settings_of((32, 6), (48, 4))
    arguments = [settings.model_dump_json(), str(folder / "demo"), str(folder / "progress")]
    return subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], cwd=PROJECT, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training leaves that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder).wait() == 0
    return folder


@pytest.mark.parametrize("steps_before_the_end", [2, 6, 8])  # amid either phase, or between them
def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(
    steps_before_the_end: int, whole: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    state = killed / "progress" / STATE
    process = start(killed)
    while not state.is_file() or steps_done(state) < steps_before_the_end:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert start(killed).wait() == 0
    for name in ("demo/model.safetensors", "demo/training_log.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def steps_done(state: Path) -> int:
    with safe_open(state, "pt") as file:
        position = json.loads(file.metadata()["position"])
    return int(position["step"]) + 6 * int(position["phase"])


def test_a_finished_training_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["demo_training"] = settings_of((32, 2)).model_dump()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        main(tmp_path / "progress")
        assert [file.name for file in (tmp_path / "progress").iterdir()] == [FINISHED]
    assert list(pd.read_csv(tmp_path / "data" / "demo" / "training_log.csv")["step"]) == [2]
