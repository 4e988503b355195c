import os
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from stages.archives.command import steady_rate, time_command, watch_command
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.serving.checkpoints import with_decoding
from tests.captioner.corpus.archives import fill, rows
from tests.conftest import Build


def write_blocks(output: Path, ends: list[float], rows_in_block: int = 10) -> Path:
    """Captions of which each block was written at a time, in seconds."""
    folder = output / "0123456789abcdef"
    folder.mkdir(parents=True)
    for number, end in enumerate(ends):
        file = folder / f"{number}.parquet"
        parquet.write_table(pa.table({"id": list(range(rows_in_block))}), file)
        os.utime(file, (end, end))
    return output


@pytest.mark.parametrize("ends", [[30, 31, 40, 41, 50, 51, 60, 61], [3, 29, 35, 40, 45, 50, 55, 60]])
def test_a_rate_is_of_what_all_workers_do(ends: list[float], tmp_path: Path) -> None:
    assert steady_rate(write_blocks(tmp_path, ends), 2) == pytest.approx(2, rel=0.1)


def test_too_few_blocks_have_no_rate(tmp_path: Path) -> None:
    write_blocks(tmp_path, [1, 2, 3])
    assert steady_rate(tmp_path, 1) == pytest.approx(10)
    with pytest.raises(InputError, match="3 blocks of captions, too few"):
        steady_rate(tmp_path, 2)


def test_a_run_of_the_command_is_watched(
    build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    checkpoint = with_decoding(build("onnx"), Decoding(drafts=0).exactly(3), tmp_path / "checkpoint")
    archive, output = fill(tmp_path / "archive", pictures, 64), tmp_path / "captions"
    timed = watch_command(checkpoint, archive, output)
    # All of Ray's processes, of which each takes more than that.
    assert timed.seconds > 0 and timed.peak_memory_bytes > 200e6
    assert len(rows(output)) == 64 and steady_rate(output, 1) > 0
    with pytest.raises(InputError, match="ended with 1, and says above why"):
        time_command(tmp_path / "absent", archive, output)
