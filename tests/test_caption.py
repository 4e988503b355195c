import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.download import download
from stages.params import FolderSource
from tests.conftest import DEMO, PROJECT, RunStage, assert_one_sentence


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "baseline"
    download(FolderSource.model_construct(folder=str(DEMO)), path)
    return path


def test_files_and_folders_are_captioned_in_order(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "more" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(picture_files[1], folder / "b.png")
    (folder / "notes.txt").write_text("not a picture, and not asked for by name")
    process = run_stage("caption", "--checkpoint", checkpoint, picture_files[0], tmp_path / "more")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(picture_files[0]), str(folder / "b.png")]
    assert all(line.partition(": ")[2].startswith("a ") for line in lines)


def test_json_has_one_object_a_line_and_decoding_options_count(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path]
) -> None:
    options = ("--json", "--prompt", "a picture of", "--beams", "3", "--max-new-tokens", "4", "--batch-size", "2")
    process = run_stage("caption", "--checkpoint", checkpoint, *options, *picture_files)
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(path) for path in picture_files]
    assert all(answer["caption"].startswith("a picture of a ") for answer in answers)
    assert all(len(answer["caption"].split()) <= 7 for answer in answers)


def test_an_unreadable_picture_is_skipped_and_the_exit_status_says_so(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path]
) -> None:
    picture_files[1].write_text("broken")
    process = run_stage("caption", "--checkpoint", checkpoint, "--batch-size", "4", *picture_files)
    assert_one_sentence(process, "1 of 4 pictures")
    assert f"skipped: {picture_files[1]}" in process.stderr
    assert [line.partition(": ")[0] for line in process.stdout.splitlines()] == [
        str(path) for path in picture_files if path != picture_files[1]
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top-k", "5"), "set temperature above 0"),
        (("--beams", "0"), "beams"),
        (("--max-new-tokens", "99"), "has room for"),
    ],
)
def test_wrong_options_are_one_sentence(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], options: tuple[str, ...], message: str
) -> None:
    assert_one_sentence(run_stage("caption", "--checkpoint", checkpoint, *options, picture_files[0]), message)


def test_wrong_paths_are_one_sentence(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for paths, message in ((["absent.jpg"], "no file or folder absent.jpg"), ([tmp_path / "empty"], "no pictures in")):
        assert_one_sentence(run_stage("caption", "--checkpoint", checkpoint, *paths), message)
    process = run_stage("caption", "--checkpoint", tmp_path / "absent", picture_files[0])
    assert_one_sentence(process, "there is no checkpoint", "dvc repro")
    assert_one_sentence(
        run_stage("caption", "--checkpoint", checkpoint, picture_files[0], cwd=tmp_path), "there is no params.yaml"
    )
    assert (PROJECT / "params.yaml").is_file()


def test_what_takes_long_to_import_waits_until_files_are_being_verified() -> None:
    program = (
        "import sys, stages.caption, stages.measure.worker;"
        "print(*{'numpy', 'torch', 'openvino', 'onnxruntime'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, encoding="utf-8")
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == []
