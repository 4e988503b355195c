from pathlib import Path

import pytest
from PIL import Image

from stages.archives.speed import SIDE, WAYS, Way, draw_archive, opened, summarize
from stages.archives.worker import LOOP
from stages.captioner.command_line import InputError
from stages.captioner.corpus.manifest import write_manifest
from stages.captioner.corpus.sources import find_pictures
from stages.captioner.runtimes.decoding import Decoding
from tests.conftest import Build, RunStage, assert_one_sentence

DECODING = Decoding(drafts=0).exactly(3)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    folder, file = draw_archive(tmp_path / "archive", 4, (160, 120)), str(tmp_path / "manifest.parquet")
    write_manifest(file, str(folder), None, find_pictures(str(folder)))
    return file


def test_an_archive_has_pictures_as_cameras_or_as_scenes_are(tmp_path: Path) -> None:
    files = sorted(draw_archive(tmp_path / "photos", 2, SIDE).rglob("*.*"))
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "photos/000/000000.jpg",
        "photos/000/000001.jpg",
    ]
    with Image.open(files[0]) as photo, Image.open(draw_archive(tmp_path / "scenes", 1) / "000/000000.png") as scene:
        assert photo.size == SIDE and scene.format == "PNG"


def test_the_loop_and_several_processes_caption(manifest: str, build: Build, baseline: Path) -> None:
    with opened(Way(LOOP, baseline, 1, 1), manifest, DECODING, 4) as processes:
        assert processes.rate(1, 0.1) > 0
    with opened(Way("worker", build("onnx"), 2, 1), manifest, DECODING, 4) as processes:
        assert processes.rate(2, 0.1) > 0 and processes.rate(1, 0.1) > 0


def test_a_process_that_can_t_start_is_a_sentence(manifest: str, tmp_path: Path) -> None:
    absent = Way("worker", tmp_path / "absent", 1, 1)
    with pytest.raises(InputError, match="a process that captions has ended"), opened(absent, manifest, DECODING, 4):
        pass


def test_shares_and_times_as_many_are_within_sessions() -> None:
    quick = {"loop": 1.0, "all_cores": 8.0, "per_core": 12.0, "ray": 9.0}
    rates = {way: [quick[way], quick[way] / 2] for way in WAYS}
    figures = summarize(rates, beside=[10.0, 10.0])
    assert figures["loop"]["speedup"] == 1 and figures["ray"]["speedup"] == 9
    assert figures["ray"]["ratio_to_best"] == figures["ray"]["ratio_to_best_ci_low"] == 0.75
    assert figures["ray"]["seconds_beside"] == 10
    own = figures["all_cores"]
    assert own["pictures_per_second_ci_low"] < own["pictures_per_second"] < own["pictures_per_second_ci_high"]


def test_only_the_full_size_is_timed(tmp_path: Path, baseline: Path, run_stage: RunStage) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/baseline").symlink_to(baseline)
    assert_one_sentence(run_stage("archives.speed", tmp_path, cwd=tmp_path), "make corpus-load")
