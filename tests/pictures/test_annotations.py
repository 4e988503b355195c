import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.pictures.annotations import CaptionedPicture, read_annotations
from tests.conftest import PROJECT

Form = Callable[[str, int], str]

MEASURE = """
import sys
from collections.abc import Callable
from pathlib import Path
from stages.measure.worker import peak_memory_bytes
from stages.pictures.annotations import read_annotations
before = peak_memory_bytes()
pictures = read_annotations(Path(sys.argv[1]))
print(len(pictures), peak_memory_bytes() - before)
"""


def karpathy(sentence: str, images: int) -> str:
    """A file with all that Karpathy's has, five sentences and their tokens for each image."""
    sentences = [{"tokens": sentence.split(), "raw": sentence, "imgid": 1, "sentid": 1}] * 5
    image = {
        "filepath": "val2014",
        "sentids": [1] * 5,
        "imgid": 1,
        "split": "test",
        "sentences": sentences,
        "cocoid": 1,
    }
    entries = [{**image, "filename": f"COCO_val2014_{number:012}.jpg"} for number in range(images)]
    return json.dumps({"images": entries, "dataset": "coco"}, ensure_ascii=False)


def coco(sentence: str, images: int) -> str:
    """A file with all that COCO's own has, five captions for each image."""
    url = "http://images.cocodataset.org/val2014/COCO_val2014_000000391895.jpg"
    image = {"license": 3, "coco_url": url, "flickr_url": url, "height": 360, "width": 640, "date_captured": "2013"}
    entries = [{**image, "id": number, "file_name": f"COCO_val2014_{number:012}.jpg"} for number in range(images)]
    captions = [{"image_id": number // 5, "id": number, "caption": sentence} for number in range(5 * images)]
    return json.dumps({"info": {}, "images": entries, "annotations": captions}, ensure_ascii=False)


@pytest.mark.parametrize("form", [karpathy, coco])
@pytest.mark.parametrize(
    "sentence", ["a man riding a wave on top of a surfboard", "ein Mann auf einer großen Welle 🏄"]
)
def test_a_large_file_takes_not_much_more_memory_than_it_is_long(form: Form, sentence: str, tmp_path: Path) -> None:
    """Karpathy's 147 MB took a gigabyte as objects, and one emoji makes a str of the file four times as long."""
    path = tmp_path / "captions.json"
    path.write_text(form(sentence, 20_000), encoding="utf-8")
    output = subprocess.run([sys.executable, "-c", MEASURE, path], cwd=PROJECT, capture_output=True, check=True).stdout
    pictures, bytes_more = map(int, output.split())
    assert pictures == 20_000
    assert bytes_more < 5 * path.stat().st_size


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '{"a": [1]}', "true", "null"])
def test_what_is_no_caption_is_dropped_also_where_it_is_no_json_but_pythons(value: str, tmp_path: Path) -> None:
    """As pandas writes what is missing."""
    path = tmp_path / "captions.json"
    path.write_text(f'[{{"image": "a.jpg", "caption": ["a dog", {value}], "score": {value}}}]')
    assert read_annotations(path) == [CaptionedPicture("a.jpg", ["a dog"])]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_letters_of_all_planes_are_read_as_editors_write_them(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(" \r\n" + karpathy("ein großer 🏄", 1), encoding=encoding)
    (picture,) = read_annotations(path)
    assert picture.captions == ["ein großer 🏄"] * 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b'[{"image": "a.jpg", "caption": NaN}', "is not valid JSON"),
        (b'[{"image": "a.jpg", "caption": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "is not valid JSON"),
        (
            b'[{"image": "a.jpg", "score": NaN, "caption": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
            "is not valid JSON",
        ),
        (b'[{"image": "a.jpg", "score": NaN, "number": ' + b"9" * 5000 + b"}]", "is not valid JSON"),
        (b'[{"image": "a.jpg", "caption": "\\ud800"}]', "is not valid JSON"),
        (b'[{"image": "caf\xe9.jpg", "caption": "a"}]', "is not text in UTF-8"),
        (
            b'[{"image": NaN, "caption": "a"}]',
            r"forms of captions files: Expected `str`, got `float` - at `\$\[0\]\.image`",
        ),
        (b'[{"image": ["' + b"x" * 5_000_000 + b'"]}]', "forms of captions files: Expected `str`, got `array`"),
        (b'{"images": {}, "annotations": []}', r"forms of captions files: Expected `array`, .* at `\$\.images`"),
        (
            b'{"images": [{"filename": "a", "split": "' + b"x" * 5_000_000 + b'", "sentences": []}]}',
            "a split is one of",
        ),
    ],
)
def test_what_is_wrong_is_one_bounded_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_annotations(path)
    assert len(str(error.value)) <= 500
