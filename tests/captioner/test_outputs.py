"""Where the command puts captions: beside pictures, and into files."""

import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.captioner.commands.tables import Row, Table
from stages.captioner.commands.xmp import describes, packet
from tests.captioner.test_caption import album, start_captioning
from tests.conftest import Build, RunStage, assert_one_sentence

SUFFIXES = ("jsonl", "csv", "parquet")


@pytest.fixture(scope="module")
def checkpoint(build: Build) -> Path:
    return build("onnx")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """What a file holds, read by others' readers."""
    if path.suffix == ".parquet":
        return [dict(row) for row in pyarrow.parquet.read_table(path).to_pylist()]
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else [*map(json.loads, text.splitlines())]


# Tables

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCORES = st.floats(-50, 0)
ROWS = st.builds(
    Row,
    image=st.one_of(TEXTS, st.sampled_from(["=1+1", "'=1+1", "''-a", "@a", "-a.jpg", "'a", "\ta", "\r", '"a", b\n'])),
    caption=TEXTS,
    score=SCORES,
    beam_score=st.none() | SCORES,
    cut_off=st.none() | st.floats(0, 1),
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(rows=st.lists(ROWS, unique_by=lambda row: row.image, min_size=1, max_size=5))
def test_rows_come_back_from_a_file_as_they_went_in(
    suffix: str, rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / f"captions.{suffix}"
    with Table(path, keep=False) as table:
        for row in rows:
            table.add(row)
    assert list(Table(path, keep=True).rows.values()) == rows
    assert os.listdir(path.parent) == [path.name]


def test_no_cell_of_csv_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    with Table(path, keep=False) as table:
        for name in ("=1+1", "+1", "-1", "@a", "\ta", "\r=1", "'=1"):
            table.add(Row(image=name, caption=name, score=-1.5))
    with path.open(encoding="utf-8", newline="") as stream:
        heading, *rows = csv.reader(stream)
    assert heading == ["image", "caption", "score", "beam_score", "cut_off"]
    assert all(cell[0] == "'" for row in rows for cell in row[:2])
    assert [row[2] for row in rows] == ["-1.5"] * len(rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"{"),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl", b'{"image": "a.jpg", "caption": "a"}'),
        ("a.jsonl", b'{"image": "a.jpg", "caption": "a", "score": 0, "mine": 1}'),
        ("a.jsonl", b"\xff"),
        ("a.csv", b"\xff"),
        ("a.csv", b""),
        ("a.csv", b"image,caption,score\na,b\n"),
        ("a.csv", b"image,caption,score\na,b,c\n"),
        ("a.csv", b"name,city\nme,here\n"),
        ("a.parquet", b"PAR1 nothing"),
        ("a.parquet", b""),
    ],
)
def test_another_s_file_is_refused_and_left_as_it_is(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="holds other rows than captions") as refused:
        Table(tmp_path / name, keep=True)
    assert len(str(refused.value)) <= 500
    assert (tmp_path / name).read_bytes() == content


def test_a_name_or_a_place_that_can_not_be_had_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (
        ("captions.txt", "end it in .jsonl, .csv or .parquet"),
        ("nowhere/captions.csv", "make its folder"),
    ):
        with pytest.raises(InputError, match=message):
            Table(tmp_path / name, keep=False)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="can't be written"):
        Table(tmp_path / "folder.csv", keep=False)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs pyarrow.*extra \[parquet\], or name a file"):
        Table(tmp_path / "captions.parquet", keep=False)
    assert os.listdir(tmp_path) == ["folder.csv"]


# The command


def test_captions_go_beside_their_pictures(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    command = ("caption", "--checkpoint", checkpoint, "--write", "txt", "--write", "xmp", "--json", *picture_files)
    process = run_stage(*command)
    assert process.returncode == 0, process.stderr
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    for file, answer in zip(picture_files, answers, strict=True):
        assert sorted(answer) == ["caption", "image", "score"] and answer["score"] < 0
        assert file.with_suffix(".txt").read_text(encoding="utf-8") == f"{answer['caption']}\n"
        assert (tmp_path / f"{file.name}.xmp").read_bytes() == packet(answer["caption"])
    assert len(os.listdir(tmp_path)) == 3 * len(picture_files)


def test_a_sidecar_that_is_none_is_named_and_left_and_the_others_are_written(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / f"{picture_files[1].name}.xmp"
    broken.write_text("<broken")
    options = ("--checkpoint", checkpoint, "--write", "xmp")
    for more in ((), ("--skip-existing",)):
        process = run_stage("caption", *options, *more, *picture_files)
        assert_one_sentence(process, "1 of 4 pictures could not be captioned")
        assert f"skipped: {broken} is no XMP" in process.stderr and "it is left as it is" in process.stderr
        assert broken.read_text() == "<broken"
        others = [tmp_path / f"{file.name}.xmp" for file in picture_files if file != picture_files[1]]
        assert all(describes(other.read_bytes()) for other in others)
    os.remove(broken)
    os.mkfifo(broken)
    assert_one_sentence(run_stage("caption", *options, *picture_files), "1 of 4 pictures")


def test_what_has_a_caption_is_passed_over(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    own = picture_files[0].with_suffix(".txt")
    own.write_text("my own words")
    (tmp_path / f"{picture_files[1].name}.xmp").write_bytes(packet(""))
    options = ("--checkpoint", checkpoint, "--write", "txt", "--write", "xmp", "--skip-existing")
    process = run_stage("caption", *options, *picture_files)
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == len(picture_files)  # each lacks something
    assert own.read_text() == "my own words"
    assert all(describes((tmp_path / f"{file.name}.xmp").read_bytes()) for file in picture_files)
    again = run_stage("caption", *options, *picture_files)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "4 of 4 pictures have captions already\n"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_takes_all_captions_and_keeps_those_that_it_has(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"captions.{suffix}"
    options = ("--checkpoint", checkpoint, "--json", "--output", path)
    first = run_stage("caption", *options, *picture_files[:2], "--beams", "2")
    assert first.returncode == 0, first.stderr
    before = rows_of(path)
    assert [row["image"] for row in before] == list(map(str, picture_files[:2]))
    answers = [json.loads(line) for line in first.stdout.splitlines()]
    for row, answer in zip(before, answers, strict=True):
        assert row["caption"] == answer["caption"]
        assert float(row["score"]) == answer["score"] and float(row["beam_score"]) == answer["beam_score"]
    second = run_stage("caption", *options, "--skip-existing", *picture_files)
    assert second.returncode == 0, second.stderr
    assert len(second.stdout.splitlines()) == 2 and "2 of 4 pictures have captions already" in second.stderr
    after = rows_of(path)
    assert [row["image"] for row in after] == list(map(str, picture_files))
    assert [row["caption"] for row in after[:2]] == [row["caption"] for row in before]
    assert not after[3].get("beam_score")


def test_an_interrupted_command_leaves_a_whole_file_and_goes_on(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    pictures = album(tmp_path, picture_files[0], 150)
    path = tmp_path / "captions.jsonl"
    with start_captioning(checkpoint, *pictures, Path("--output"), path) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 130
    done = [row["image"] for row in rows_of(path)]
    assert 0 < len(done) < len(pictures)
    again = run_stage("caption", "--checkpoint", checkpoint, "--output", path, "--skip-existing", *pictures)
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == len(pictures) - len(done)
    assert [row["image"] for row in rows_of(path)] == list(map(str, pictures))


def test_captions_never_go_to_a_picture_or_to_one_place_twice(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    twin = Path(shutil.copy(picture_files[0], picture_files[0].with_suffix(".jpg")))
    text = Path(shutil.copy(picture_files[0], tmp_path / "picture.txt"))
    for pictures, named in ([picture_files[0], twin], twin), ([text], text):
        content = {path: path.read_bytes() for path in pictures}
        process = run_stage("caption", "--checkpoint", checkpoint, "--write", "txt", *pictures)
        assert_one_sentence(process, f"the caption of {named} would go to", "rename one")
        assert content == {path: path.read_bytes() for path in pictures}
    assert not picture_files[0].with_suffix(".txt").exists()


def test_a_link_in_a_sidecar_s_place_is_replaced_and_what_it_led_to_stays(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("private")
    link = picture_files[0].with_suffix(".txt")
    link.symlink_to(tmp_path / "elsewhere")
    process = run_stage("caption", "--checkpoint", checkpoint, "--write", "txt", picture_files[0])
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "elsewhere").read_text() == "private" and not link.is_symlink()


def test_to_pass_over_what_was_never_written_is_one_sentence(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path]
) -> None:
    process = run_stage("caption", "--checkpoint", checkpoint, "--skip-existing", picture_files[0])
    assert_one_sentence(process, "say what by --write or --output")


def test_banned_words_and_repeats_are_options(run_stage: RunStage, checkpoint: Path, picture_files: list[Path]) -> None:
    def words(*options: str) -> list[str]:
        process = run_stage("caption", "--checkpoint", checkpoint, "--json", *options, picture_files[0])
        assert process.returncode == 0, process.stderr
        return str(json.loads(process.stdout)["caption"]).split()

    first, second, *_ = filter(str.isalpha, words())
    assert not {first, second} & {*words("--banned-word", first, "--banned-word", second.upper())}
    without_repeats = words("--no-repeat-ngram", "1")
    assert len(without_repeats) == len({*without_repeats})
