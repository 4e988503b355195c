"""A captioner of others at full size, in processes of its own."""

from pathlib import Path

import pytest

from stages.alternatives.rival_times import Group, rival, time_group
from stages.captioner.runtimes.decoding import Decoding


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
