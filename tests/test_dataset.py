import contextlib
import json
import os
import re
import shutil
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter

from stages.captioner.command_line import InputError
from stages.dataset import make_dataset
from stages.pictures.annotations import read_annotations
from stages.pictures.folder import candidates
from stages.records.examples import read_examples
from stages.scenes.composition import compose, read_scenes
from stages.scenes.wording import refer
from stages.setup.params import Coco, Dataset, Folder, Noise, Photographs, Scenes

DATASET: TypeAdapter[Dataset] = TypeAdapter(Dataset)
PLACES = {
    "coco": {"images": "data/local/coco/val2014", "annotations": "data/local/coco/captions_val2014.json"},
    "folder": {"images": "data/local/coco/val2014"},
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "eval", tmp_path / "calibration"


def pixels(folder: Path) -> list[bytes]:
    return [Image.open(path).tobytes() for path, _ in read_examples(folder)]


def test_scenes_are_held_out_and_have_five_references(folders: tuple[Path, Path]) -> None:
    make_dataset(Scenes(kind="scenes", evaluation=6, calibration=3), *folders)
    evaluation, calibration = map(read_examples, folders)
    assert [own for _, own in evaluation] == [refer(compose(seed, "held_out"), seed) for seed in range(6)]
    assert read_scenes(folders[0]) == [compose(seed, "held_out") for seed in range(6)]
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


@pytest.mark.parametrize("kind", ["scenes", "noise", "coco", "folder"])
def test_pictures_to_search_on_are_none_of_the_others(folders: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    save_pictures(tmp_path, *(f"{number}.png" for number in range(9)))
    save_captions(tmp_path, [{"image": f"{number}.png", "caption": f"a dog {number}"} for number in range(9)])
    counts = {"evaluation": 4, "calibration": 2, "search": 3}
    make_dataset(DATASET.validate_python({"kind": kind, **counts, **PLACES.get(kind, {})}), *folders, tmp_path / "own")
    found = [pixels(folder) for folder in (*folders, tmp_path / "own")]
    assert [len(own) for own in found] == [4, 2, 3]
    assert len({picture for own in found for picture in own}) == 9
    scenes = [compose(seed, "training") for seed in (2, 3, 4)] if kind == "scenes" else []
    assert read_scenes(tmp_path / "own") == scenes


def test_photographs_are_too_few_to_search_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    make_dataset(Photographs(kind="photographs"), *folders, tmp_path / "own")
    assert read_examples(tmp_path / "own") == []


@pytest.mark.parametrize("kind", ["coco", "folder"])
def test_too_few_pictures_to_search_on_are_one_sentence(folders: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    save_pictures(tmp_path, *(f"{number}.png" for number in range(6)))
    save_captions(tmp_path, [{"image": f"{number}.png", "caption": f"a dog {number}"} for number in range(6)])
    dataset = DATASET.validate_python({"kind": kind, "evaluation": 3, "calibration": 2, "search": 2, **PLACES[kind]})
    with pytest.raises(InputError, match=r"params\.yaml asks for 7"):
        make_dataset(dataset, *folders, tmp_path / "own")


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
        ({"images": []}, (2, 2), "missing required field `annotations`"),
        (
            coco_file(images=[{"id": None, "file_name": "a.jpg"}]),
            (2, 2),
            r"Expected `int \| float \| str`, got `null` - at `\$\.images\[0\]\.id`",
        ),
        (
            coco_file(images=[{"id": 1, "file_name": f"{n}.jpg"} for n in range(4)]),
            (2, 2),
            "id 1 is that of 0.jpg and of",
        ),
        ({"info": {}}, (2, 2), "missing required field `images`"),
        ("captions", (2, 2), "none of the forms"),
        ([{"image_id": 1, "caption": "a dog"}], (2, 2), r"missing required field `image` - at `\$\[0\]`"),
        (
            {"images": [{"filename": "a", "split": "dev", "sentences": []}]},
            (2, 2),
            r"a split is one of test, .*, and not dev - at `\$\.images\[0\]`",
        ),
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


# Other forms of captions files, and other pictures


def save_pictures(tmp_path: Path, *names: str) -> Path:
    """Pictures that all differ, in the folder that `coco` names."""
    folder = tmp_path / "data/local/coco/val2014"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name, "png")
    return folder


def save_captions(tmp_path: Path, content: Any, encoding: str = "utf-8") -> None:
    path = tmp_path / "data/local/coco/captions_val2014.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(content, indent=1).replace("\n", "\r\n").encode(encoding))


def make(folders: tuple[Path, Path], evaluation: int = 2, calibration: int = 2) -> list[dict[str, list[str]]]:
    """The captions of each picture that was written for evaluation, and for calibration."""
    make_dataset(coco(evaluation, calibration), *folders)
    made = []
    for folder in folders:
        for path, _ in read_examples(folder):
            Image.open(path).load()
        made.append({path.relative_to(folder / "images").as_posix(): own for path, own in read_examples(folder)})
    return made


def pairs(*names: str) -> list[dict[str, Any]]:
    return [{"image": name, "caption": f"Picture {name}."} for name in names]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_captions_are_read_as_editors_write_them(folders: tuple[Path, Path], tmp_path: Path, encoding: str) -> None:
    write_coco(tmp_path, {})
    save_captions(tmp_path, coco_file(), encoding)
    assert list(make(folders)[0]) == ["COCO_4.jpg", "COCO_3.jpg"]


def test_a_captions_file_that_is_cut_off_is_one_bounded_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_coco(tmp_path, {})
    text = json.dumps(coco_file(annotations=[{"image_id": 1, "caption": "x" * 5_000_000}]))
    (tmp_path / "data/local/coco/captions_val2014.json").write_text(text[:4_000_000])
    with pytest.raises(InputError, match=r"not valid JSON .*truncated") as error:
        make_dataset(coco(), *folders)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("of_images", "of_annotations"),
    [(int, str), (str, int), (float, int), (lambda number: f"img{number}", lambda number: f"img{number}")],
)
def test_ids_may_be_numbers_or_texts(
    folders: tuple[Path, Path], tmp_path: Path, of_images: Any, of_annotations: Any
) -> None:
    save_pictures(tmp_path, *(f"{number}.png" for number in (9, 10, 11, 100)))
    images = [{"id": of_images(number), "file_name": f"{number}.png"} for number in (100, 11, 10, 9)]
    annotations = [{"image_id": of_annotations(number), "caption": str(number)} for number in (9, 10, 11, 100)]
    save_captions(tmp_path, {"images": images, "annotations": [*annotations, {"image_id": 7, "caption": "unknown"}]})
    evaluation, calibration = make(folders)
    made = {**evaluation, **calibration}
    assert made == {f"{number}.png": [str(number)] for number in (9, 10, 11, 100)}
    if isinstance(of_images(9), int | float) or of_images is str:
        assert list(made) == ["9.png", "10.png", "11.png", "100.png"]


def test_karpathys_splits_are_kept_apart(folders: tuple[Path, Path], tmp_path: Path) -> None:
    splits = ["train", "val", "restval", "test", "train", "test"]
    save_pictures(tmp_path, *(f"{number}.jpg" for number in range(6)))
    images = [
        {
            "filepath": "val2014",
            "filename": f"{number}.jpg",
            "imgid": number,
            "cocoid": 60 - number,
            "sentids": [number],
            "split": split,
            "sentences": [{"tokens": ["a"], "raw": f"Picture {number}.", "imgid": number, "sentid": number}],
        }
        for number, split in enumerate(splits)
    ]
    save_captions(tmp_path, {"images": images, "dataset": "coco"})
    evaluation, calibration = make(folders, 3, 3)
    assert evaluation == {"5.jpg": ["Picture 5."], "3.jpg": ["Picture 3."], "1.jpg": ["Picture 1."]}
    assert list(calibration) == ["2.jpg", "4.jpg", "0.jpg"], "restval first, which lies in val2014 with test and val"
    with pytest.raises(InputError, match="captions 3 pictures in splits to evaluate on and 3"):
        make(folders, 4, 2)


def test_a_list_of_pairs_is_read_in_its_order(folders: tuple[Path, Path], tmp_path: Path) -> None:
    save_pictures(tmp_path, "b.jpg", "a.jpg", "d.jpg", "c.jpg")
    content = [
        {"image": "val2014/b.jpg", "caption": "one", "image_id": "coco_1"},
        {"image": "val2014/a.jpg", "caption": ["two", "three"]},
        {"image": "val2014/b.jpg", "caption": "four"},
        {"image": "d.jpg", "caption": "five"},
        {"image": "./c.jpg", "caption": ["six"]},
    ]
    save_captions(tmp_path, content)
    evaluation, calibration = make(folders)
    assert evaluation == {"b.jpg": ["one", "four"], "a.jpg": ["two", "three"]}
    assert calibration == {"d.jpg": ["five"], "c.jpg": ["six"]}


def test_captions_without_words_are_dropped(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_coco(tmp_path, {})
    captions = {30: ["", None, 7, " \n", ["a"], "a  dog\nruns "], 29: [None, ""], 28: ["a cat"], 27: ["x"], 26: ["y"]}
    annotations = [{"image_id": id, "caption": text} for id, texts in captions.items() for text in texts]
    save_captions(tmp_path, coco_file(annotations=[*annotations, {"image_id": 28}]))
    evaluation, calibration = make(folders)
    assert evaluation == {"COCO_4.jpg": ["y"], "COCO_3.jpg": ["x"]}
    assert calibration == {"COCO_2.jpg": ["a cat"], "COCO_0.jpg": ["a dog runs"]}


def test_a_picture_under_two_ids_is_one_picture(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_coco(tmp_path, {})
    images = [{"id": number, "file_name": f"COCO_{number % 4}.jpg"} for number in range(8)]
    annotations = [{"image_id": number, "caption": f"wording {number}"} for number in range(8)]
    save_captions(tmp_path, {"images": images, "annotations": annotations})
    evaluation, calibration = make(folders)
    assert evaluation == {"COCO_0.jpg": ["wording 0", "wording 4"], "COCO_1.jpg": ["wording 1", "wording 5"]}
    assert list(calibration) == ["COCO_2.jpg", "COCO_3.jpg"]


@pytest.mark.parametrize("how", ["copied", "linked", "converted"])
def test_the_same_picture_under_two_names_is_used_once(
    folders: tuple[Path, Path], tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_pictures(tmp_path, "0.png", "1.png", "2.png", "3.png")
    if how == "copied":
        (folder / "again.png").write_bytes((folder / "0.png").read_bytes())
    elif how == "linked":
        (folder / "again.png").symlink_to("0.png")
    else:
        Image.open(folder / "0.png").save(folder / "again.png", "bmp")
    save_captions(tmp_path, pairs("0.png", "1.png", "again.png", "2.png", "3.png"))
    assert [list(own) for own in make(folders)] == [["0.png", "1.png"], ["2.png", "3.png"]]
    where = "data/local/coco/val2014"
    assert f"left out 1 pictures: {where}/again.png is the same as {where}/0.png" in capsys.readouterr().err


def test_equal_words_of_two_people_count_twice(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_coco(tmp_path, {})
    captions = [{"image_id": 30 - number, "caption": text} for number in range(5) for text in ("a dog", "a dog", "x")]
    save_captions(tmp_path, coco_file(annotations=captions))
    assert make(folders)[0]["COCO_4.jpg"] == ["a dog", "a dog", "x"]


def test_the_next_picture_takes_the_place_of_a_damaged_one(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{'long' * 20}{number}.png" for number in range(40)]
    folder = save_pictures(tmp_path, *names)
    for name in names[1:37]:
        (folder / name).write_bytes((folder / name).read_bytes()[:45])
    save_captions(tmp_path, pairs(*names))
    assert [list(own) for own in make(folders)] == [[names[0], names[37]], names[38:]]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("left out 36 pictures: ") and names[1] in line and len(line) <= 500
    with pytest.raises(InputError, match=r"captions 4 pictures, but params\.yaml asks for 5"):
        make(folders, 3, 2)


@pytest.mark.parametrize("kind", ["coco", "folder"])
def test_the_next_picture_takes_the_place_of_one_that_is_cut_off(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    names = [f"{number}.jpg" for number in range(6)]
    folder = (save_pictures if kind == "coco" else save_photos)(tmp_path, *names)
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 256, (200, 150, 3), np.uint8)
        Image.fromarray(noise).save(folder / name, "jpeg")
    order = [folder / name for name in names] if kind == "coco" else [tmp_path / path for path in candidates(photos())]
    for path, kept in ((order[0], 0.3), (order[3], 0.995)):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    save_captions(tmp_path, pairs(*names))
    make_dataset(coco() if kind == "coco" else photos(), *folders)
    taken = [path.read_bytes() for made in folders for path, _ in read_examples(made)]
    assert taken == [path.read_bytes() for path in order[1:5]], "of the fourth, a sliver is missing"
    said = capsys.readouterr()
    assert not said.out
    assert re.fullmatch(
        rf"left out 1 pictures: \S+{order[0].name} is cut off, and [23]\d(\.\d)? % of it .+\n", said.err
    )


def test_links_subfolders_absolute_and_odd_names_are_taken(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = save_pictures(tmp_path, "a/x.jpg", "b/x.jpg", "X.JPG", "x.jpg", "odd \n«é»%20#?'.jpg", "in.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number, name in enumerate(("x.jpg", "y.jpg", "z.jpg")):
        Image.new("RGB", (8, 8), (0, 99, number)).save(elsewhere / name, "png")
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    (folder / "z.jpg").symlink_to(elsewhere / "z.jpg")
    names = ["a/x.jpg", "b/x.jpg", "X.JPG", "x.jpg", "odd \n«é»%20#?'.jpg", str(folder / "in.jpg"), "linked/y.jpg"]
    save_captions(tmp_path, pairs(*names, "z.jpg", "a/../linked/x.jpg"))
    evaluation, calibration = make(folders, 8, 1)
    assert list(evaluation) == [*names[:3], "x-2.jpg", names[4], "in.jpg", "linked/y.jpg", "z.jpg"]
    assert list(calibration) == ["linked/x.jpg"]
    assert not any(path.is_symlink() for path in folders[0].rglob("*"))
    (folder / "z.jpg").chmod(0o600)
    save_captions(tmp_path, pairs("z.jpg", str(elsewhere / "y.jpg"), str(elsewhere / "x.jpg"), "x.jpg"))
    evaluation, calibration = make(folders)
    assert [list(evaluation), list(calibration)] == [["z.jpg", "y.jpg"], ["x.jpg", "x-2.jpg"]]
    fresh = tmp_path / "fresh"
    fresh.touch()
    assert (folders[0] / "images/z.jpg").stat().st_mode == fresh.stat().st_mode


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "val2014/../../x.jpg", "{folder}/../x.jpg"])
def test_names_that_leave_the_folder_are_refused(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    folder = save_pictures(tmp_path, "0.png", "1.png", "2.png", "../x.jpg")
    save_captions(tmp_path, pairs("0.png", "1.png", "2.png", name.format(folder=folder)))
    with pytest.raises(InputError, match="outside of"):
        make(folders)


@pytest.mark.parametrize("name", ["", "a", "x" * 300, "nul\0.jpg", "/absent.jpg", "http://example.org/x.jpg"])
def test_a_name_without_a_picture_is_one_sentence(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    folder = save_pictures(tmp_path, "0.png", "1.png", "2.png")
    (folder / "a").mkdir()
    save_captions(tmp_path, pairs("0.png", name, "1.png", "2.png"))
    with pytest.raises(InputError, match="there is no picture"):
        make(folders)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("train/a.jpg", "train\\a.jpg"),
        ("train/a.jpg", ".\\train\\a.jpg"),
        ("train/a.jpg", "val2014\\train\\a.jpg"),
        ("train/a.jpg", "C:\\data\\val2014\\train\\a.jpg"),
        ("train/a.jpg", "D:/somewhere/else/train/a.jpg"),
        ("a.jpg", "C:\\somewhere\\a.jpg"),
        ("a.jpg", "\\\\server\\share\\a.jpg"),
        ("a.jpg", "/mnt/somebody/pictures/a.jpg"),
        ("a.jpg", "file:///mnt/somebody/pictures/a.jpg"),
        ("train/sub/a.jpg", "a.jpg"),
        ("train/sub/a.jpg", "sub\\a.jpg"),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "A.JPG"),
        (unicodedata.normalize("NFD", "été/é.jpg"), unicodedata.normalize("NFC", "été/é.jpg")),
        (unicodedata.normalize("NFC", "été/é.jpg"), unicodedata.normalize("NFD", "été\\é.jpg")),
        ("two words.jpg", "two%20words.jpg"),
        ("train/a.jpg", "train/a"),
        ("a\\b.jpg", "a\\b.jpg"),
        ("C:\\a.jpg", "C:\\a.jpg"),
        ("..\\a.jpg", "..\\a.jpg"),
        ("train/a.jpg", "train\\..\\train\\a.jpg"),
    ],
)
def test_a_picture_is_found_as_it_was_meant(folders: tuple[Path, Path], tmp_path: Path, file: str, name: str) -> None:
    folder = save_pictures(tmp_path, file, "0.png", "1.png", "2.png", "train/other.jpg")
    save_captions(tmp_path, pairs(name, "0.png", "1.png", "2.png"))
    assert [len(own) for own in make(folders)] == [2, 2]
    first, _ = read_examples(folders[0])[0]
    assert first.read_bytes() == (folder / file).read_bytes()
    assert first.is_relative_to(folders[0] / "images")


@pytest.mark.parametrize("name", ["a\\b.jpg", "C:\\pictures\\a\\b.jpg"])
def test_a_file_that_is_really_called_so_comes_first(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    folder = save_pictures(tmp_path, name, "a/b.jpg", "0.png", "1.png", "2.png")
    save_captions(tmp_path, pairs(name, "0.png", "1.png", "2.png"))
    make(folders)
    assert read_examples(folders[0])[0][0].read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["cats/1.jpg", "dogs/1.jpg"], "1.jpg"),
        (["a.JPG", "A.jpg"], "a.jpg"),
    ],
)
def test_a_name_that_may_mean_two_pictures_is_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, names: list[str], name: str
) -> None:
    save_pictures(tmp_path, *names, "0.png", "2.png")
    save_captions(tmp_path, pairs("0.png", name, "2.png", "3.png"))
    with pytest.raises(InputError, match=r"may be .* or .*: "):
        make(folders)


@pytest.mark.parametrize("others", ["C:\\dogs\\1.jpg", "/mnt/somebody/dogs/1.jpg"])
def test_two_names_are_not_taken_for_one_picture(folders: tuple[Path, Path], tmp_path: Path, others: str) -> None:
    save_pictures(tmp_path, "1.jpg", "0.png", "2.png", "3.png", "birds/4.jpg")
    save_captions(tmp_path, pairs("C:\\cats\\1.jpg", "0.png", "2.png", "3.png", others))
    with pytest.raises(InputError, match="there is no picture"):
        make(folders)
    save_captions(tmp_path, pairs("C:\\cats\\4.jpg", "0.png", "2.png", "3.png"))
    with pytest.raises(InputError, match="there is no picture"):
        make(folders)


@pytest.mark.parametrize(
    "name", ["..\\x.jpg", "a\\..\\..\\x.jpg", "val2014\\..\\..\\x.jpg", "C:\\val2014\\..\\x.jpg", "%2e%2e/x.jpg"]
)
def test_no_name_leads_out_of_the_folder(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    folder = save_pictures(tmp_path, "0.png", "1.png", "2.png", "../x.jpg")
    (folder / "val2014").mkdir()
    save_captions(tmp_path, pairs("0.png", name, "1.png", "2.png"))
    with pytest.raises(InputError, match=r"outside of|there is no picture"):
        make(folders)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["images", "annotations", "image", "caption", "id", "file_name", "image_id", "sentences", "raw"]
            ),
            inner,
        )
    ),
)


@given(json_values | st.text() | st.binary())
def test_no_file_makes_the_reader_fail_otherwise(content: Any) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "captions.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        with contextlib.suppress(InputError):
            assert all(picture.captions for picture in read_annotations(path))


# Captions beside pictures


def beside(evaluation: int = 2, calibration: int = 2, annotations: str = "data/local/photos") -> Coco:
    return Coco(
        kind="coco",
        images="data/local/photos",
        annotations=annotations,
        evaluation=evaluation,
        calibration=calibration,
    )


def made(folders: tuple[Path, Path]) -> dict[str, list[str]]:
    return {
        path.relative_to(folder / "images").as_posix(): own for folder in folders for path, own in read_examples(folder)
    }


def test_captions_beside_pictures_are_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    names = ["a.jpg", "b/c.JPG", "b/d.png", "e.webp", "f.jpg", "empty.jpg", "none.jpg"]
    folder = save_photos(tmp_path, *names)
    (folder / "a.txt").write_text("a dog, running\r\n\r\n two  dogs \r\n", encoding="utf-8-sig")
    (folder / "b/c.TXT").write_text("ein großer Hund", encoding="utf-16")
    (folder / "b/d.txt").write_text("1girl, solo")
    (folder / "b/d.caption").write_text("a girl")
    (folder / "e.webp.txt").write_text("a cat")
    (folder / "f.caption").write_text("a bird")
    (folder / "empty.txt").write_text(" \n")
    (folder / "notes.txt").write_text("no caption of a picture")
    make_dataset(beside(3, 2), *folders)
    assert made(folders) == {
        "a.jpg": ["a dog, running", "two dogs"],
        "b/c.JPG": ["ein großer Hund"],
        "b/d.png": ["a girl"],
        "e.webp": ["a cat"],
        "f.jpg": ["a bird"],
    }
    with pytest.raises(InputError, match=r"captions 5 pictures, but params\.yaml asks for 6"):
        make_dataset(beside(4, 2), *folders)


def test_captions_in_a_folder_of_their_own_are_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    save_photos(tmp_path, *(f"{number}/x.jpg" for number in range(3)))
    for number in range(3):
        (tmp_path / f"data/local/captions/{number}").mkdir(parents=True)
        (tmp_path / f"data/local/captions/{number}/x.txt").write_text(f"picture {number}")
    make_dataset(beside(2, 1, "data/local/captions"), *folders)
    assert made(folders) == {f"{number}/x.jpg": [f"picture {number}"] for number in range(3)}


def test_captioned_pictures_are_a_sample_that_stays_when_others_come(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    names = [f"{year}/IMG_{number:04}.jpg" for year in range(2010, 2014) for number in range(10)]
    folder = save_photos(tmp_path, *names)
    for name in names:
        (folder / name).with_suffix(".txt").write_text(f"picture {name}")
    make_dataset(beside(20, 10), *folders)
    order = [path.relative_to(folder.relative_to(tmp_path)).as_posix() for path in candidates(photos(20, 10))]
    assert list(made(folders)) == order[:30]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no captions beside .*\.txt"),
        ({"metadata.jsonl": "{}"}, r"metadata\.jsonl.*: name that file"),
        ({"0.txt": "0 0.5 0.5 0.2 0.3\n"}, "no letter"),
        ({"0.txt": b"\xff\xfe\xff"}, "not text in UTF-8"),
    ],
)
def test_files_beside_pictures_that_are_no_captions_are_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    folder = save_photos(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg")
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        make_dataset(beside(), *folders)


@pytest.mark.parametrize("name", ["0.txt", "0.jpg.caption", "metadata.jsonl"])
def test_captions_that_are_not_read_are_said(
    folders: tuple[Path, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_photos(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg")
    make_dataset(photos(), *folders)
    assert "kind: coco" not in capsys.readouterr().out
    (folder / name).write_text("a dog")
    make_dataset(photos(), *folders)
    assert f"{name}, which kind: folder does not read" in capsys.readouterr().out


def test_a_file_of_hugging_faces_lies_where_its_pictures_do(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = save_photos(tmp_path, *(f"{split}/{number}.jpg" for split in ("test", "train") for number in range(3)))
    lines = [json.dumps({"file_name": f"{number}.jpg", "text": f"picture {number}"}) for number in range(3)]
    (folder / "train/metadata.jsonl").write_text("\n".join(lines))
    make_dataset(beside(2, 1, "data/local/photos/train/metadata.jsonl"), *folders)
    assert made(folders) == {f"train/{number}.jpg": [f"picture {number}"] for number in range(3)}


# Pictures without captions


def photos(evaluation: int = 2, calibration: int = 2) -> Folder:
    return Folder(kind="folder", images="data/local/photos", evaluation=evaluation, calibration=calibration)


def save_photos(tmp_path: Path, *names: str) -> Path:
    """Pictures that all differ, in the folder that `photos` names."""
    folder = tmp_path / "data/local/photos"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(folder / name, "png")
    return folder


def make_photos(folders: tuple[Path, Path], dataset: Folder) -> tuple[list[bytes], list[bytes]]:
    """The contents of the pictures that were written for evaluation, and for calibration; none has a caption."""
    make_dataset(dataset, *folders)
    evaluation, calibration = ([path.read_bytes() for path, own in read_examples(folder)] for folder in folders)
    assert not any(own for folder in folders for _, own in read_examples(folder))
    return evaluation, calibration


def test_pictures_without_captions_are_a_sample_that_stays_when_others_come(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    save_photos(tmp_path, *(f"{year}/IMG_{number:04}.jpg" for year in range(2010, 2020) for number in range(40)))
    order = candidates(photos(200, 100))
    evaluation, calibration = make_photos(folders, photos(200, 100))
    assert evaluation == [path.read_bytes() for path in order[:200]]
    assert calibration == [path.read_bytes() for path in order[200:300]]
    assert {path.parent.name for path in order[:200]} == {str(year) for year in range(2010, 2020)}
    save_photos(tmp_path, *(f"2020/IMG_{number:04}.jpg" for number in range(5)))
    assert [path for path in candidates(photos()) if path.parent.name != "2020"] == order


def test_no_more_pictures_are_opened_than_are_taken(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photos(tmp_path, *(f"{number}.jpg" for number in range(30)))
    order = candidates(photos())
    for path in [order[1], *order[6:]]:  # those behind the last that is taken would be named if they were opened
        path.write_bytes(b"damaged")
    shutil.copy(order[0], order[3])
    expected = [path.read_bytes() for path in (order[0], order[2], order[4], order[5])]
    evaluation, calibration = make_photos(folders, photos())
    assert evaluation + calibration == expected
    line = capsys.readouterr().err.strip()
    assert line.startswith("left out 2 pictures: ")
    assert f"{order[1]} is not a picture" in line and f"{order[3]} is the same as {order[0]}" in line
    with pytest.raises(InputError, match=r"hold 4 different pictures that open, but params\.yaml asks for 5 \(3 to"):
        make_dataset(photos(3, 2), *folders)
    with pytest.raises(InputError, match="hold 30 pictures by their names, but"):
        make_dataset(photos(20, 20), *folders)
    assert evaluation + calibration == expected


def test_pictures_with_any_name_are_written_under_one_that_any_disk_can_hold(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    names = ["a/x.jpg", "b/x.jpg", "B/X.JPG", "odd \n«é»%20#?':\\.jpg", "写真" * 40 + ".jpg", os.fsdecode(b"\xff.jpg")]
    folder = save_photos(tmp_path, *names, ".hidden.jpg", ".thumbnails/x.jpg")
    (folder / "notes.txt").write_text("no picture")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8), "white").save(tmp_path / "elsewhere/linked.jpg")
    (folder / "album").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "round").symlink_to(folder, target_is_directory=True)
    evaluation, calibration = make_photos(folders, photos(4, 3))
    paths = [*map(folder.joinpath, names), folder / "album/linked.jpg"]
    assert sorted(evaluation + calibration) == sorted(path.read_bytes() for path in paths)
    written = [path.name for own in folders for path, _ in read_examples(own)]
    assert all(re.fullmatch(r"\d{5}-[\w.-]+\.(jpg|JPG)", name) and len(os.fsencode(name)) < 255 for name in written)
    assert [name[:5] for name in written] == ["00000", "00001", "00002", "00003", "00000", "00001", "00002"]
    assert {name[6:] for name in written} >= {"a_x.jpg", "b_x.jpg", "B_X.JPG", "_.jpg", "album_linked.jpg"}


def test_a_folder_that_is_not_there_is_one_sentence(folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"no folder data/local/photos: correct the dataset's entry"):
        make_dataset(photos(), *folders)
