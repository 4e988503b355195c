import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stages.captioner.command_line import InputError
from stages.captioner.commands.caption import find_pictures
from stages.captioner.runtimes.decoding import Decoding
from stages.optimize import optimize
from stages.setup.params import Recipe
from tests.conftest import PROJECT, Build, RunStage, assert_one_sentence


@pytest.fixture(scope="module")
def checkpoint(build_demo: Build) -> Path:
    """The demo in an engine, which starts ten times as quickly as torch."""
    return build_demo("onnx_int8")


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
    assert all(len(line.partition(": ")[2].split()) > 3 for line in lines)


def test_json_has_one_object_a_line_and_decoding_options_count(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path]
) -> None:
    options = ("--json", "--prompt", "a picture of", "--beams", "3", "--max-new-tokens", "4", "--batch-size", "2")
    process = run_stage("caption", "--checkpoint", checkpoint, *options, *picture_files)
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(path) for path in picture_files]
    assert all(answer["caption"].startswith("a picture of ") for answer in answers)
    assert all(len(answer["caption"].split()) <= 7 for answer in answers)
    assert all(answer["beam_score"] <= 0 and answer["score"] <= 0 for answer in answers)


def test_decoding_defaults_are_the_checkpoint_s_own(
    run_stage: RunStage, baseline: Path, calibration: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    decoding = Decoding(prompt="a picture of", min_new_tokens=3, max_new_tokens=3)
    optimize(baseline, Recipe(runtime="onnxruntime"), calibration, tmp_path / "made", decoding)
    command = ("caption", "--checkpoint", tmp_path / "made", "--json", picture_files[0])
    process = run_stage(*command, cwd=tmp_path)  # where there is no params.yaml
    caption = json.loads(process.stdout)["caption"]
    assert caption.startswith("a picture of ") and len(caption.split()) == 6
    shorter = run_stage(*command, "--min-new-tokens", "1", "--max-new-tokens", "1", cwd=tmp_path)
    assert json.loads(shorter.stdout)["caption"] == " ".join(caption.split()[:4])


def test_what_runs_at_caption_time_imports_nothing_else_of_the_project() -> None:
    for file in (PROJECT / "stages" / "captioner").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                depth = len(file.relative_to(PROJECT / "stages" / "captioner").parts)
                assert node.level <= depth, f"{file} line {node.lineno} leaves captioner"
                names = [] if node.level else [str(node.module)]
            assert not [name for name in names if name.split(".")[0] == "stages"], f"{file} line {node.lineno}"


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


def test_a_cut_off_picture_is_captioned_and_named_with_the_share_that_is_there(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    whole, cut, progressive = (tmp_path / name for name in ("whole.jpg", "cut\n.jpg", "progressive.jpg"))
    for path in (whole, cut, progressive):
        Image.open(picture_files[0]).convert("RGB").save(path, "jpeg", quality=95, progressive=path == progressive)
        if path != whole:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    process = run_stage("caption", "--checkpoint", checkpoint, "--json", "--batch-size", "3", whole, cut, progressive)
    assert process.returncode == 0, process.stderr
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    usual = ["caption", "image", "score"]
    assert [sorted(answer) for answer in answers] == [usual, *[sorted([*usual, "cut_off"])] * 2]
    assert all(0.1 < answer["cut_off"] < 0.9 for answer in answers[1:])
    first, second = process.stderr.splitlines()
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/cut\\n\.jpg is cut off, and [\d.]+ % of it is there", first)
    assert f"{progressive} is cut off, and" in second
    without = run_stage("caption", "--checkpoint", checkpoint, whole, cut)
    assert (without.returncode, without.stderr, len(without.stdout.splitlines())) == (0, first + "\n", 2)


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


def test_hidden_files_other_files_and_folders_named_like_pictures_are_passed_over(
    tmp_path: Path, picture_files: list[Path]
) -> None:
    folder = tmp_path / "album"
    (folder / ".thumbnails").mkdir(parents=True)
    (folder / "directory.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (tmp_path / "elsewhere/album").mkdir(parents=True)
    shutil.copy(picture_files[0], tmp_path / "elsewhere/d.jpg")
    (tmp_path / "elsewhere/album/up").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "linked-too").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    for name in ("._a.jpg", ".thumbnails/a.jpg", "a.txt", "B.AVIF", "a.JFIF", "directory.jpg/c.heic"):
        shutil.copy(picture_files[0], folder / name)
    (folder / "linked.tga").symlink_to(picture_files[0])
    names = ["B.AVIF", "a.JFIF", "directory.jpg/c.heic", "linked.tga", "linked/d.jpg"]
    assert find_pictures([folder]) == sorted(folder / name for name in names)
    assert find_pictures([folder / ".thumbnails"]) == [folder / ".thumbnails/a.jpg"]
    assert find_pictures([folder / "._a.jpg"]) == [folder / "._a.jpg"]


def test_a_picture_named_twice_is_captioned_once(picture_files: list[Path]) -> None:
    folder = picture_files[0].parent
    assert find_pictures([picture_files[2], folder, picture_files[2]]) == [
        picture_files[2],
        *picture_files[:2],
        picture_files[3],
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_can_not_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    with pytest.raises(InputError, match=r"secret can't be listed .*Permission denied"):
        find_pictures([tmp_path])


def test_what_one_file_holds_never_stops_the_others(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    paths = [tmp_path / "pipe.png", tmp_path / "empty.png", tmp_path / "gone.png"]
    process = run_stage("caption", "--checkpoint", checkpoint, "--batch-size", "2", *paths, *picture_files)
    assert_one_sentence(process, "3 of 7 pictures")
    assert process.stderr.count("skipped: ") == 3
    assert len(process.stdout.splitlines()) == 4


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_file_name_can_be_printed(
    run_stage: RunStage, checkpoint: Path, picture_files: list[Path], tmp_path: Path, encoding: str
) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\x1b[31m " + "中é.png".encode()))
    shutil.copy(picture_files[0], strange)
    broken = Path(os.fsdecode(os.fsencode(tmp_path) + b"/broken\xfe.png"))
    broken.write_text("broken")
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    process = run_stage("caption", "--checkpoint", checkpoint, strange, broken, **environment)
    assert_one_sentence(process, "1 of 2 pictures")
    assert r"broken\xfe.png is not a picture" in process.stderr
    (line,) = process.stdout.splitlines()
    assert line.startswith(str(tmp_path) + r"/\xff\n\x1b[31m ") and len(line.rpartition(": ")[2].split()) > 3
    answers = run_stage("caption", "--checkpoint", checkpoint, "--json", strange, **environment)
    answer = json.loads(answers.stdout)
    assert answer["image"] == f"{tmp_path}/\\xff\n\x1b[31m 中é.png"


def start_captioning(checkpoint: Path, *paths: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "stages.caption", "--checkpoint", str(checkpoint), *map(str, paths)]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def album(tmp_path: Path, picture: Path, count: int) -> list[Path]:
    return [Path(shutil.copy(picture, tmp_path / f"copy {number}.png")) for number in range(count)]


def test_a_reader_that_has_seen_enough_is_no_error(checkpoint: Path, picture_files: list[Path], tmp_path: Path) -> None:
    with start_captioning(checkpoint, *album(tmp_path, picture_files[0], 200)) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_an_interrupt_ends_without_a_traceback(checkpoint: Path, picture_files: list[Path], tmp_path: Path) -> None:
    with start_captioning(checkpoint, *album(tmp_path, picture_files[0], 500)) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 130


def test_what_takes_long_to_import_waits_until_files_are_being_verified() -> None:
    program = (
        "import sys, stages.captioner.commands.caption, stages.timing.worker;"
        "print(*{'numpy', 'torch', 'openvino', 'onnxruntime'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, encoding="utf-8")
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == []
