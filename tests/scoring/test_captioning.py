"""Evaluation pictures that other processes caption; that several find the same is in tests/long/scoring."""

from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.scoring.captioning import Batch, caption_batches, processes_worth_having
from tests.conftest import Build


def test_another_process_captions_and_says_what_is_wrong(build: Build, picture_files: list[Path]) -> None:
    asked = Batch(picture_files, (), together=True, next_tokens=True)
    unasked = asked._replace(next_tokens=False)
    captioned, others = caption_batches(build("onnx"), [asked, unasked], Decoding(), 1)
    assert [own.same_in_batch for own in captioned] == [True] * len(picture_files)
    assert all(own.next_tokens for own in captioned)
    assert [own.said.tokens for own in others] == [own.said.tokens for own in captioned]
    assert not any(own.next_tokens for own in others)
    missing = Batch([picture_files[0].with_name("missing.png")], (), together=False, next_tokens=True)
    with pytest.raises(InputError, match="missing"):
        list(caption_batches(build("onnx"), [missing], Decoding(), 1))


def test_there_are_no_more_processes_than_find_room(build: Build) -> None:
    checkpoint = build("onnx")
    assert processes_worth_having(checkpoint, 4, float("inf")) == 4
    assert processes_worth_having(checkpoint, 4, 1.5e9) == 2
    assert processes_worth_having(checkpoint, 4, 0) == 1
