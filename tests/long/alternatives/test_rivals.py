"""A captioner of others at full size, and checkpoints, in processes of their own."""

from pathlib import Path

import pandas as pd
import pytest

from stages.alternatives.rival_times import Entrant, Group, checkpoint, rival, summarize, time_group
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from tests.conftest import Build


def test_a_rival_takes_turns_in_32_and_8_bits(baseline: Path, picture_files: list[Path]) -> None:
    looks = ("git_base",)
    group = Group([rival(looks, numbers) for numbers in ("float32", "int8")], looks)
    samples = time_group(group, baseline, picture_files[:2], Decoding().exactly(4), threads=1, seconds=0)
    captions, memory = (
        samples[samples["measurement"] == measurement].set_index("captioner") for measurement in ("caption", "memory")
    )
    assert list(captions.index) == ["baseline", "git_base", "git_base_int8"]
    assert (captions["checkpoint"] > 0).all()
    if memory.empty:
        pytest.skip("this system doesn't tell the peak of memory")
    numbers = 4 * 176.6e6  # bytes of its weights
    peak = memory["checkpoint"]
    assert numbers < peak["git_base"] and peak["git_base_int8"] < peak["git_base"] - 0.3 * numbers


def test_checkpoints_take_turns_with_the_baseline(baseline: Path, build: Build, picture_files: list[Path]) -> None:
    group = Group([checkpoint(build("quantized"))])
    samples = time_group(group, baseline, picture_files[:2], Decoding().exactly(4), threads=1, seconds=0)
    captions = samples[samples["measurement"] == "caption"]
    assert list(captions["captioner"]) == ["baseline", "quantized"]
    assert captions["baseline"].nunique() == 1 and captions["baseline"].iloc[0] == captions["checkpoint"].iloc[0]
    figures = summarize(pd.concat([samples.assign(session=number) for number in range(3)]))
    assert figures["baseline"]["speedup"] == 1
    assert figures["quantized"].keys() >= {"seconds", "seconds_ci_low", "speedup_ci_high"}


def test_a_process_that_can_not_start_ends_it_in_a_sentence(baseline: Path, picture_files: list[Path]) -> None:
    broken = Entrant(["stages.alternatives.rival_worker", "nobody", "int8"], ("nobody",))
    with pytest.raises(InputError, match="the process that times nobody died"):
        time_group(Group([broken]), baseline, picture_files[:1], Decoding().exactly(2), threads=1, seconds=0)
