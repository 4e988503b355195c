"""Evaluation pictures that other processes caption; that several find the same is in tests/long/scoring."""

from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.scoring.captioning import Batch, caption_batches, processes_worth_having
from tests.conftest import Build


def test_another_process_captions_and_says_what_is_wrong(build: Build, picture_files: list[Path]) -> None:
    found = caption_batches(build("onnx"), [Batch(picture_files, (), together=True)], Decoding(), 1)
    (captioned,) = found
    assert [own.same_in_batch for own in captioned] == [True] * len(picture_files)
    missing = Batch([picture_files[0].with_name("missing.png")], (), together=False)
    with pytest.raises(InputError, match="missing"):
        list(caption_batches(build("onnx"), [missing], Decoding(), 1))


def test_there_are_no_more_processes_than_find_room(build: Build) -> None:
    checkpoint = build("onnx")
    assert processes_worth_having(checkpoint, 4, float("inf")) == 4
    assert processes_worth_having(checkpoint, 4, 1.5e9) == 2
    assert processes_worth_having(checkpoint, 4, 0) == 1
