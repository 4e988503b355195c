import shutil
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.host import captions_files, record_model, record_pictures
from stages.pictures.folder import candidates
from stages.records.metrics import read_metrics
from stages.setup.params import FolderSource, HubSource, Recipe, Scenes, Vocabulary, read_params
from tests.conftest import PROJECT, save_tiny_model
from tests.test_dataset import beside, coco, pairs, photos, save_captions, save_photos, save_pictures, write_coco

FOLDER = FolderSource(folder="data/local/mine")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder below data/local of an empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return save_tiny_model(tmp_path / "data/local/mine")


def digest(source: FolderSource | HubSource = FOLDER) -> str:
    record_model(source, Path("record.json"))
    return str(read_metrics(Path("record.json")))


def test_what_transformers_reads_of_a_model_counts_and_nothing_else(model: Path) -> None:
    before = digest()
    assert digest() == before
    (model.parent / "another").mkdir()
    (model.parent / "another" / "config.json").write_text("{}")
    (model / "README.md").write_text("mine")
    (model / "checkpoint-100").mkdir()
    assert digest() == before
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    assert digest() != before


def test_a_link_is_followed_and_changes_behind_it_count(model: Path, tmp_path: Path) -> None:
    before = digest()
    elsewhere = tmp_path / "elsewhere"
    model.rename(elsewhere)
    model.symlink_to(elsewhere)
    assert digest() == before
    (elsewhere / "config.json").write_text("{}")
    assert digest() != before


def test_a_model_of_the_hub_has_no_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'files': 0" in digest(HubSource(hub="a/b", revision="0" * 40))
    record_pictures(Scenes(kind="scenes", evaluation=2, calibration=1), Path("record.json"))
    assert read_metrics(Path("record.json"))["files"] == 0


def test_what_is_not_here_counts_as_unchanged_if_it_was_recorded(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest()
    shutil.rmtree(model)
    assert digest() == before
    assert "data/local/mine is not here" in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(InputError, match=r"no data/local/other, .* `dvc pull`"):
        digest(FolderSource(folder="data/local/other"))
    Path("record.json").unlink()
    with pytest.raises(InputError, match="no data/local/mine"):
        digest()


def test_captions_files_of_drafts_and_of_recipes_count_once() -> None:
    params = read_params(PROJECT / "params.yaml")
    assert captions_files(params) == []
    names = {"a": "data/local/a.txt", "b": "data/local/b.json", "again": "data/local/a.txt", "none": None}
    recipes = {name: Recipe(vocabulary=Vocabulary(captions=path)) for name, path in names.items()}
    recipes["whole"] = Recipe(runtime="openvino")
    drafting = params.drafting.model_copy(update={"captions": "data/local/c.txt"})
    named = captions_files(params.model_copy(update={"variants": recipes, "drafting": drafting}))
    assert named == ["data/local/a.txt", "data/local/b.json", "data/local/c.txt"]


def test_of_captioned_pictures_those_that_are_taken_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path)

    def pictures() -> str:
        record_pictures(coco(2, 1), Path("record.json"))
        return str(read_metrics(Path("record.json")))

    before, folder = pictures(), Path("data/local/coco")
    (folder / "instances_val2014.json").write_text("[]")
    (folder / "val2014/not-captioned.jpg").write_bytes(b"in the folder only")
    assert pictures() == before
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert pictures() == before
    (tmp_path / "elsewhere/val2014/COCO_4.jpg").write_bytes(b"the first, and damaged: another is taken instead")
    damaged = pictures()
    assert damaged != before
    captions = folder / "captions_val2014.json"
    captions.write_text(captions.read_text().replace("Picture 4", "Photograph 4"))
    assert pictures() != damaged


def test_of_pictures_without_captions_those_that_may_be_taken_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_photos(tmp_path, *(f"album/{number}.jpg" for number in range(20)))
    order = candidates(photos(2, 1))

    def pictures() -> str:
        record_pictures(photos(2, 1), Path("record.json"))
        return str(read_metrics(Path("record.json")))

    before = pictures()
    assert "'files': 6" in before and "'named': ['data/local/photos']" in before
    (folder / "notes.txt").write_text("no picture")
    (tmp_path / "data/local/other").mkdir()
    order[6].write_bytes(b"behind those that may be taken")
    assert pictures() == before
    (folder / "album").rename(tmp_path / "elsewhere")
    (folder / "album").symlink_to(tmp_path / "elsewhere")
    assert pictures() == before
    (tmp_path / "elsewhere" / order[5].name).write_bytes(b"one that may take another's place")
    assert pictures() != before
    shutil.rmtree(folder)
    assert "'files': 6" in pictures()
    with pytest.raises(InputError, match=r"no data/local/other2, .* `dvc pull`"):
        record_pictures(photos().model_copy(update={"images": "data/local/other2"}), Path("record.json"))


def test_of_captions_beside_pictures_those_that_may_be_taken_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_photos(tmp_path, *(f"{number}.jpg" for number in range(20)))
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"picture {number}")
    order = candidates(photos(2, 1))

    def pictures() -> str:
        record_pictures(beside(2, 1), Path("record.json"))
        return str(read_metrics(Path("record.json")))

    before = pictures()
    assert "'files': 12" in before
    (folder / "notes.txt").write_text("no caption of a picture")
    order[6].with_suffix(".txt").write_text("behind those that may be taken")
    assert pictures() == before
    order[5].with_suffix(".txt").write_text("of one that may take another's place")
    changed = pictures()
    assert changed != before
    order[0].with_suffix(".caption").write_text("instead of the .txt")
    assert pictures() not in (before, changed)


def test_a_picture_that_is_named_as_on_another_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_pictures(tmp_path, "a/0.png", "a/1.png", "a/2.png")
    save_captions(tmp_path, pairs("a\\0.png", "C:\\a\\1.png", "2.png"))
    record_pictures(coco(2, 1), Path("record.json"))
    assert read_metrics(Path("record.json"))["files"] == 4
    before = read_metrics(Path("record.json"))
    (folder / "a/0.png").write_bytes(b"changed")
    record_pictures(coco(2, 1), Path("record.json"))
    assert read_metrics(Path("record.json")) != before
