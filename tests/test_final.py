import json
from pathlib import Path

import pandas as pd
import pytest

from stages.captioner.runtimes.decoding import Decoding
from stages.choice.acceptance import Final
from stages.contenders import name_contenders
from stages.final import final, summarize
from stages.setup.params import Benchmark
from tests.conftest import Build

SETTINGS = Benchmark(threads=1, images=2, sessions=2, rounds=4, seconds=0, new_tokens=4, throughput_batch=2)


def test_checkpoints_are_timed_in_turns_in_sessions_of_their_own(build: Build, picture_files: list[Path]) -> None:
    checkpoints = [build(name) for name in ("onnx", "onnx_int8", "openvino_int8")]
    rounds = final(checkpoints, picture_files[:2], Decoding(max_new_tokens=4), SETTINGS, most_seconds=0)
    names = {checkpoint.name for checkpoint in checkpoints}
    assert set(rounds.columns) == {*names, "session"}
    assert rounds["session"].tolist() == [0] * 4 + [1] * 4
    assert (rounds[list(names)] > 0).all(axis=None)
    found = summarize(rounds)
    assert set(found.contenders()) == names
    ratios = [lead.times_as_fast for lead in found.leads.values()]
    assert ratios == sorted(ratios)
    assert found.sessions == 2
    assert Final.model_validate(json.loads(found.model_dump_json())) == found


def test_contenders_are_others_once_a_checkpoint_is(build: Build) -> None:
    models = build("onnx").parent
    before = name_contenders(["onnx"], models)
    assert before == name_contenders(["onnx"], models)
    assert before["onnx"] != name_contenders(["onnx_int8"], build("onnx_int8").parent)["onnx_int8"]


def test_the_lead_is_over_sessions_and_between_rounds_of_the_same_moment() -> None:
    rounds = pd.DataFrame(
        {"slow": [2.2, 4.4, 2.2, 6.6], "quick": [2.0, 4.0, 2.0, 6.0], "session": [0, 0, 1, 1]}, dtype=float
    )
    found = summarize(rounds)
    assert (found.fastest, found.ended) == ("quick", "interval reached")
    assert found.leads["slow"].times_as_fast == pytest.approx(1.1)
