from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from stages.captioner.command_line import InputError
from stages.captioner.corpus.captioning import SCHEMA
from stages.captioner.corpus.output import Counts, Output, alone, count, digest_of, lay_out, other_digests, reconcile
from stages.captioner.runtimes.decoding import Decoding


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """With three blocks of which the first is done, the second was being written and the third is unknown to Ray, and
    a fourth that Ray takes for done."""
    made = lay_out(str(tmp_path / "captions"), "0123456789abcdef")
    for folder in (made.captions, made.done):
        Path(folder).mkdir(parents=True)
    for block in ("u_000000", "u_000001", "u_000002"):
        rows = [
            [0, 1, 2],
            ["a", "b", "c"],
            ["a dog", "a cat", None],
            [-0.5, -0.25, None],
            [None, "b is cut off", "c is empty"],
            ["0123456789abcdef"] * 3,
        ]
        parquet.write_table(pa.table(rows, schema=SCHEMA), f"{made.captions}/{block}-0.parquet")
    for name in ("u_000000", "u_000001.pending", "u_000003"):
        parquet.write_table(pa.table({"id": [0]}), f"{made.done}/{name}.parquet")
    return made


def test_only_blocks_that_ray_and_the_folder_both_have_stay(output: Output) -> None:
    assert count(output) == Counts(3, 3, 3)
    reconcile(output)
    assert [file.name for file in Path(output.captions).iterdir()] == ["u_000000-0.parquet"]
    assert [file.name for file in Path(output.done).iterdir()] == ["u_000000.parquet"]
    assert count(output) == Counts(whole=1, cut_off=1, broken=1)
    reconcile(output)
    assert count(output).total == 3


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    nothing = lay_out(str(tmp_path / "captions"), "0" * 16)
    reconcile(nothing)
    assert count(nothing) == Counts(0, 0, 0) and other_digests(nothing) == []


def test_others_captions_are_told_apart(output: Output, baseline: Path) -> None:
    digests = {digest_of(baseline, Decoding(max_new_tokens=most)) for most in (3, 4)}
    assert len(digests) == 2 and digests == {digest_of(baseline, Decoding(max_new_tokens=most)) for most in (3, 4)}
    assert other_digests(output) == []
    assert other_digests(lay_out(output.folder, "f" * 16)) == ["0123456789abcdef"]


def test_two_at_once_are_refused(output: Output) -> None:
    with alone(output), pytest.raises(InputError, match="is being written by another process"), alone(output):
        pass
    with alone(output):
        pass
