from pathlib import Path

from stages.captioner.runtimes.decoding import Decoding
from stages.setup.params import read_params
from tests.conftest import Build
from tests.timing.guesses import WITH, WITHOUT, time_guesses


def test_both_ways_are_timed_in_each_session(build: Build, picture_files: list[Path]) -> None:
    settings = read_params().benchmark.model_copy(update={"rounds": 2, "seconds": 0.05, "threads": 1})
    found = time_guesses(build("onnx"), picture_files[:2], Decoding().exactly(6), settings, sessions=2)
    assert len(found) == 2 and (found > 0).all(axis=None)
    assert sorted(found.columns) == sorted([WITHOUT, WITH, "lead"])
    # Both are of the same rounds, without the slowest and the fastest of them.
    assert (found["lead"] / (found[WITHOUT] / found[WITH])).between(1 / 3, 3).all()
