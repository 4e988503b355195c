"""Recovery that is killed, and recovery of what engines run."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from stages.captioner.checkpoint import read_manifest
from stages.optimize import optimize
from stages.passes import recover
from stages.passes.training_state import read_state
from stages.setup.params import Recipe, Recover
from tests.passes.test_recover import ALL, CUT, teach


def endless(state: str) -> None:
    """A training that somebody has to kill."""
    recover.SAVE_AFTER = 0.1
    teach(CUT["shorten"], Recover(steps=400), Path(state))


def test_a_training_that_is_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state.safetensors"
    process = multiprocessing.get_context("spawn").Process(target=endless, args=(str(state),))
    process.start()
    while not state.exists():
        assert process.is_alive()
        time.sleep(0.05)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = read_state(state)
    assert found
    done = len(json.loads(found[0]["losses"]))
    made: list[int] = []
    whole = recover._step
    monkeypatch.setattr(recover, "_step", lambda *given: (made.append(given[-1]), whole(*given))[1])
    _, record = teach(CUT["shorten"], Recover(steps=400), state)
    assert made == list(range(done, 400)) and record["losses"][-1][0] == 400
    assert not state.exists()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_recipe_that_recovers_is_written_for_an_engine_and_says_how_it_went(
    runtime: str, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(ALL | {"recover": {"steps": 2}, "runtime": runtime})
    optimize(baseline, recipe, calibration, tmp_path / "taught")
    record = read_manifest(tmp_path / "taught").passes["recover"]
    assert len(record["losses"]) == 2 and record["kl_nats_after"] >= 0
