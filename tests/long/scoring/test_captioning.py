"""Evaluation pictures that several processes share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.dataset import make_dataset
from stages.records.examples import read_examples
from stages.scoring.captioning import Batch, Captioned, Expected, caption_batches
from stages.setup.params import Noise
from tests.conftest import Build


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("noise")
    make_dataset(Noise(kind="noise", evaluation=7, calibration=1), folder / "eval", folder / "calibration")
    return [path for path, _ in read_examples(folder / "eval")]


def batches(pictures: Sequence[Path], expected: Sequence[Expected] = ()) -> list[Batch]:
    """Of two pictures and of what is left, the first ones captioned together, too."""
    return [
        Batch(pictures[at : at + 2], expected[at : at + 2], together=at < 4, next_tokens=True)
        for at in range(0, len(pictures), 2)
    ]


@pytest.mark.parametrize("checkpoint", ["quantized", "openvino"])
def test_any_number_of_processes_finds_the_same(build: Build, pictures: list[Path], checkpoint: str) -> None:
    path = build(checkpoint)
    here, elsewhere = (
        [own for batch in caption_batches(path, batches(pictures), Decoding(), processes) for own in batch]
        for processes in (None, 2)
    )
    assert len(here) == len(pictures)
    for own, other in zip(here, elsewhere, strict=True):
        assert (own.said.tokens, own.caption, own.same_in_batch) == (
            other.said.tokens,
            other.caption,
            other.same_in_batch,
        )
        assert own.next_tokens and other.next_tokens
        # One thread adds up in another order than several.
        np.testing.assert_allclose(own.next_tokens.others, other.next_tokens.others, atol=1e-3)
    assert [own.same_in_batch is None for own in here] == [False] * 4 + [True] * 3
    compared = list(caption_batches(path, batches(pictures, expected(here)), Decoding(), 2))
    for own in (own for batch in compared for own in batch):
        assert own.next_tokens is None and own.agreement
        same, divergence = own.agreement
        assert same == 1 and 0 <= divergence < 1e-5, "it is the same model"


def expected(captioned: Sequence[Captioned]) -> list[Expected]:
    return [Expected(own.said.tokens, own.next_tokens) for own in captioned if own.next_tokens]


def test_a_process_that_dies_is_named(build: Build, pictures: list[Path]) -> None:
    many = batches(pictures) * 200
    found = caption_batches(build("onnx"), many, Decoding(), 2)
    next(found)
    for child in psutil.Process().children(recursive=True):
        if any("spawn_main" in argument for argument in child.cmdline()):
            child.kill()
    with pytest.raises(InputError, match=r"a process that captioned pictures with .* died"):
        list(found)
