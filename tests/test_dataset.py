import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stages.command_line import InputError
from stages.dataset import make_dataset
from stages.demo.scenes import compose, describe
from stages.examples import read_examples
from stages.params import Coco, Dataset, Noise, Photographs, Scenes


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "eval", tmp_path / "calibration"


def pixels(folder: Path) -> list[bytes]:
    return [Image.open(path).tobytes() for path, _ in read_examples(folder)]


def test_scenes_are_held_out_and_have_five_references(folders: tuple[Path, Path]) -> None:
    make_dataset(Scenes(kind="scenes", evaluation=6, calibration=3), *folders)
    evaluation, calibration = map(read_examples, folders)
    assert [own for _, own in evaluation] == [describe(compose(seed, "held_out")) for seed in range(6)]
    assert len(calibration) == 3
    assert not set(pixels(folders[0])) & set(pixels(folders[1]))


@pytest.mark.parametrize(
    "dataset", [Scenes(kind="scenes", evaluation=3, calibration=2), Noise(kind="noise", evaluation=3, calibration=2)]
)
def test_the_same_dataset_has_the_same_bytes(folders: tuple[Path, Path], dataset: Dataset) -> None:
    contents = []
    for _ in range(2):
        make_dataset(dataset, *folders)
        contents.append([path.read_bytes() for path in sorted(folders[0].parent.rglob("*")) if path.is_file()])
    assert contents[0] == contents[1]


def test_noise_has_no_references(folders: tuple[Path, Path]) -> None:
    make_dataset(Noise(kind="noise", evaluation=3, calibration=2), *folders)
    assert [own for _, own in read_examples(folders[0])] == [[], [], []]
    assert len(set(pixels(folders[0]) + pixels(folders[1]))) == 5


def test_photographs_have_several_references_each(folders: tuple[Path, Path]) -> None:
    make_dataset(Photographs(kind="photographs"), *folders)
    evaluation = read_examples(folders[0])
    assert len(evaluation) >= 5
    assert all(len(own) == len(set(own)) == 5 for _, own in evaluation)
    assert not set(pixels(folders[0])) & set(pixels(folders[1]))


def coco_file(**changes: Any) -> dict[str, Any]:
    """A file as COCO publishes it, with the keys that captions don't need."""
    return {
        "info": {"description": "a stand-in", "year": 2014},
        "licenses": [{"id": 1, "name": "none"}],
        "type": "captions",
        "images": [
            {
                "id": 30 - number,
                "file_name": f"COCO_{number}.jpg",
                "height": 8,
                "width": 8,
                "license": 1,
                "coco_url": "",
            }
            for number in range(5)
        ],
        "annotations": [
            {"image_id": 30 - number, "id": 100 * number + which, "caption": f"Picture {number}, wording {which}."}
            for number in range(5)
            for which in range(2)
        ],
        **changes,
    }


def coco(evaluation: int = 2, calibration: int = 2) -> Coco:
    return Coco(
        kind="coco",
        images="data/local/coco/val2014",
        annotations="data/local/coco/captions_val2014.json",
        evaluation=evaluation,
        calibration=calibration,
    )


def write_coco(tmp_path: Path, content: Any = None) -> None:
    (tmp_path / "data/local/coco/val2014").mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / f"data/local/coco/val2014/COCO_{number}.jpg")
    (tmp_path / "data/local/coco/captions_val2014.json").write_text(json.dumps(content or coco_file()))


def test_coco_annotations_are_read_up_to_their_limit(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_coco(tmp_path, coco_file())
    make_dataset(coco(), *folders)
    evaluation, calibration = map(read_examples, folders)
    assert [path.name for path, _ in evaluation] == ["COCO_4.jpg", "COCO_3.jpg"]  # in the order of their ids
    assert evaluation[0][1] == ["Picture 4, wording 0.", "Picture 4, wording 1."]
    assert [path.name for path, _ in calibration] == ["COCO_2.jpg", "COCO_1.jpg"]


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (coco_file(), (5, 2), "captions 5 pictures, but params.yaml asks for 7"),
        (coco_file(annotations=[]), (2, 2), "captions 0 pictures"),
        ({"images": []}, (2, 2), "annotations: Field required"),
        (coco_file(images=[{"id": "x", "file_name": "a.jpg"}]), (2, 2), "images.0.id"),
        (coco_file(images=[{"id": 30 - n, "file_name": "../../../../secret"} for n in range(4)]), (2, 2), "outside of"),
        (coco_file(images=[{"id": 30 - n, "file_name": f"{n}.jpg"} for n in range(4)]), (2, 2), "there is no picture"),
    ],
)
def test_unusable_coco_files_are_one_sentence_and_leave_nothing(
    folders: tuple[Path, Path], tmp_path: Path, content: Any, limits: tuple[int, int], message: str
) -> None:
    write_coco(tmp_path, content)
    with pytest.raises(InputError, match=message):
        make_dataset(coco(*limits), *folders)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_absent_coco_file_is_one_sentence(folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="correct the dataset's entry"):
        make_dataset(coco(), *folders)
