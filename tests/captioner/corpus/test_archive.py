"""The command on this machine. Starting Ray takes seconds, so there are few runs, and each looks at much."""

from pathlib import Path

import pytest
from PIL import Image

from stages.captioner import open_captioner
from tests.captioner.corpus.archives import caption, fill, png, rows, survivors, write_parquet, write_tar
from tests.conftest import Build, RunStage, assert_one_sentence


@pytest.fixture
def archive(tmp_path: Path, pictures: list[Image.Image]) -> Path:
    """40 pictures in files, one that is none, one that is cut off, two in a tar and two in a Parquet file of three."""
    folder = fill(tmp_path / "archive", pictures, 40)
    (folder / "broken.jpg").write_bytes(b"no picture")
    noise = Image.effect_noise((256, 256), 80).convert("RGB")
    whole = png(noise)
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_tar(folder / "shard.tar", {"a.png": png(pictures[0]), "b.png": png(pictures[1])})
    write_parquet(folder / "table.parquet", image=[png(pictures[2]), None, png(pictures[3])])
    return folder


def test_each_picture_has_one_row_and_what_is_missing_is_done_again(
    archive: Path, build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path
) -> None:
    checkpoint, output, log = build("onnx"), tmp_path / "captions", tmp_path / "log"
    with open_captioner(checkpoint) as captioner:
        expected = captioner.caption_with_scores(pictures)
    said = caption(checkpoint, archive, output, log=log, TMPDIR=str(temporary))
    [folder] = [path for path in output.iterdir() if not path.name.startswith("_")]
    assert said == f"{folder}: 45 pictures captioned, 1 of them cut off, and 2 that can't be opened\n"

    found = rows(output)
    assert [row["id"] for row in found] == list(range(47))
    assert {row["digest"] for row in found} == {folder.name}
    by_name = {row["path"].removeprefix(f"{archive}/"): row for row in found}
    sources = [(f"{number // 10:02}/{number:04}.png", number % 4) for number in range(40)]
    sources += [("shard.tar#a.png", 0), ("shard.tar#b.png", 1), ("table.parquet#0", 2), ("table.parquet#2", 3)]
    for name, number in sources:
        row = by_name.pop(name)
        assert (row["caption"], row["error"]) == (expected[number].text, None)
        assert row["score"] == pytest.approx(expected[number].score, abs=1e-3)
    assert (
        by_name["broken.jpg"]["error"]
        == f"{archive}/broken.jpg is not a picture that can be read: convert it to JPEG or PNG"
    )
    assert by_name["table.parquet#1"]["error"] == f"{archive}/table.parquet#1 has no bytes: replace it"
    assert by_name["cut.png"]["caption"] and "is cut off, and" in by_name["cut.png"]["error"]
    assert by_name["broken.jpg"]["caption"] is None and by_name["broken.jpg"]["score"] is None

    kept = sorted(folder.iterdir())
    times = [file.stat().st_mtime_ns for file in kept]
    kept[0].unlink()
    again = caption(checkpoint, archive, output, log=log, TMPDIR=str(temporary)).removeprefix(said)
    assert again.startswith("going on: ") and again.endswith(said)
    assert rows(output) == found
    assert [file.stat().st_mtime_ns for file in kept[1:]] == times[1:]
    assert not list(temporary.iterdir()) and not survivors(temporary)


def test_what_is_wrong_is_said_in_a_sentence_before_ray_starts(
    run_stage: RunStage, build: Build, tmp_path: Path
) -> None:
    command = ("captioner.commands.corpus", "--output", tmp_path / "captions")
    options = ("--checkpoint", build("onnx"))
    assert_one_sentence(run_stage(*command, "--checkpoint", tmp_path, "--images", tmp_path), "is not a checkpoint")
    process = run_stage(*command, *options, "--images", tmp_path / "absent")
    assert_one_sentence(process, "there is nothing at", "absent")
    assert not (tmp_path / "captions" / "_corpus" / "manifest.parquet").exists()
    process = run_stage(*command, *options, "--images", tmp_path, "--beams", "3", "--temperature", "1")
    assert_one_sentence(process, "beams and temperature exclude each other")
    locked = tmp_path / "file"
    locked.write_text("")
    process = run_stage(command[0], "--output", locked / "below", *options, "--images", tmp_path)
    assert_one_sentence(process, "can't be written", "name another output")


def test_python_without_docstrings_says_that_ray_needs_them(
    archive: Path, build: Build, tmp_path: Path, run_stage: RunStage
) -> None:
    options = ("--checkpoint", build("onnx"), "--images", archive, "--output", tmp_path / "captions")
    process = run_stage("captioner.commands.corpus", *options, PYTHONOPTIMIZE="2")
    assert_one_sentence(process, "Ray reads docstrings to start", "run it without -OO")
