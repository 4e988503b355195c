import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.pictures.annotations import read_annotations
from stages.pictures.rows import CaptionedPicture
from tests.conftest import PROJECT

Form = Callable[[str, int], str]

MEASURE = """
import sys
from collections.abc import Callable
from pathlib import Path
from stages.timing.worker import peak_memory_bytes
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


# As trainers keep captions

PLAIN = [CaptionedPicture("a.jpg", ["a dog, running", "dogs"]), CaptionedPicture("b/c.jpg", ['a "cat"'])]
# The same captions in each form.
TABLES = {
    "csv": 'image,caption\na.jpg,"a dog, running"\na.jpg,dogs\nb/c.jpg,"a ""cat"""\n',
    "flickr30k": 'image_name| comment_number| comment\na.jpg| 0| a dog, running\na.jpg| 1| dogs\nb/c.jpg| 0| a "cat"\n',
    "flickr8k token": 'a.jpg#0\ta dog, running\na.jpg#1\tdogs\nb/c.jpg#0\ta "cat"\n',
    "tsv": 'filepath\ttitle\na.jpg\ta dog, running\na.jpg\tdogs\nb/c.jpg\ta "cat"\n',
    "quoted tsv": 'filepath\ttitle\na.jpg\t"a dog, running"\na.jpg\tdogs\nb/c.jpg\t"a ""cat"""\n',
    "semicolons": 'File Name;Text;Note\na.jpg;a dog, running;x\na.jpg;dogs;\nb/c.jpg;"a ""cat""";y\n',
    "unquoted": 'file,text\na.jpg,a dog, running\na.jpg,dogs\nb/c.jpg,"a ""cat"""\n',
    "quoted": '"id","file_name","text"\n"1","a.jpg","a dog, running"\n"2","a.jpg","dogs"\n"3","b/c.jpg","a\n""cat"""\n',
    "columns": 'caption_1,path,caption_2\n"a dog, running",a.jpg,dogs\n"a ""cat""",b/c.jpg,\n',
    "no header": 'a.jpg,"a dog, running"\na.jpg,dogs\nb/c.jpg,"a ""cat"""\n',
    "no header, tabs": 'a.jpg\ta dog, running\na.jpg\tdogs\nb/c.jpg\ta "cat"\n',
    "lists": 'filename,raw\na.jpg,"[""a dog, running"", ""dogs""]"\nb/c.jpg,"[""a \\""cat\\""""]"\n',
    "an index": ',image,caption\n0,a.jpg,"a dog, running"\n1,a.jpg,dogs\n2,b/c.jpg,"a ""cat"""\n',
    "an index, tabs": '\timage\tcaption\n0\ta.jpg\ta dog, running\n1\ta.jpg\tdogs\n2\tb/c.jpg\ta "cat"\n',
    "blank lines": '\nimage,caption\n\na.jpg,"a dog, running"\na.jpg,dogs\n\nb/c.jpg,"a ""cat"""\n\n',
}
OBJECTS = {
    "lines": '{"file_name": "a.jpg", "text": "a dog, running"}\n{"file_name": "a.jpg", "text": "dogs"}\n'
    '{"file_name": "b/c.jpg", "text": "a \\"cat\\""}\n',
    "lines with more": '{"id": 1, "image": "a.jpg", "captions": ["a dog, running", "dogs"], "score": NaN}\n\n'
    '{"id": 2, "image": "b/c.jpg", "captions": ["a \\"cat\\""], "tags": {"x": [1]}}',
    "list": '[{"filename": "a.jpg", "sentences": [{"raw": "a dog, running"}, {"raw": "dogs"}]},\n'
    '{"filename": "b/c.jpg", "sentences": [{"raw": "a \\"cat\\""}]}]',
    "map": '{"a.jpg": ["a dog, running", "dogs"], "b/c.jpg": "a \\"cat\\""}',
    "kohya": '{"a.jpg": {"captions": ["a dog, running", "dogs"], "tags": "x, y"}, '
    '"b/c.jpg": {"caption": "a \\"cat\\""}}',
}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", TABLES)
def test_tables_are_read_in_every_form(form: str, encoding: str, ends: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes(TABLES[form].replace("\n", ends).encode(encoding))
    assert read_annotations(path) == PLAIN


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", OBJECTS)
def test_objects_are_read_in_every_form(form: str, encoding: str, ends: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes(OBJECTS[form].replace("\n", ends).encode(encoding))
    assert read_annotations(path) == PLAIN


def test_one_line_is_read_like_many(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "a.jpg", "text": ["a dog, running", "dogs"]}\n')
    assert read_annotations(path) == PLAIN[:1]


@pytest.mark.parametrize("form", ["file_name,text,split\na,x,train\nb,y,test\nc,z,\n", None])
def test_splits_are_kept_apart_where_there_are_any(form: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metadata"
    rows = [("a", "x", "train"), ("b", "y", "validation"), ("c", "z", None)]
    lines = [json.dumps({"file_name": name, "text": text, "split": split}) for name, text, split in rows]
    path.write_text(form or "\n".join(lines))
    assert [picture.purpose for picture in read_annotations(path)] == ["calibration", "evaluation", None]


def test_rows_without_a_caption_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flickr30k's results.csv has one, in which a delimiter is missing."""
    path = tmp_path / "results.csv"
    path.write_text("image_name| comment_number| comment\na.jpg| 0| a dog\nb.jpg| 4   A cat .\nc.jpg| 0| \n| 0| x\n")
    assert read_annotations(path) == [CaptionedPicture("a.jpg", ["a dog"])]
    assert capsys.readouterr().out == f"left out 3 rows of {path} that lack a picture or a caption, line 3 first\n"


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.jpg", "b c.png", "é,;.jpg"]), st.text(st.characters(codec="utf-8"), min_size=1)),
        min_size=1,
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_caption_comes_back_from_a_table_that_a_library_wrote(
    rows: list[tuple[str, str]], delimiter: str, encoding: str
) -> None:
    expected: dict[str, list[str]] = {}
    for name, text in rows:
        if (line := " ".join(text.split())) and line not in expected.setdefault(name, []):
            expected[name].append(line)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "captions.csv"
        with path.open("w", encoding=encoding, newline="") as stream:
            writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows([("image", "caption"), *rows])
        read = {picture.file_name: picture.captions for picture in read_annotations(path)}
    assert read == {name: own for name, own in expected.items() if own}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a dog on a beach\thttp://example.org/a.jpg\n", "names web addresses .* save the pictures"),
        (b"url,caption\nhttps://example.org/a.jpg,a dog\n", "names web addresses"),
        (b'{"url": "https://example.org/a.jpg", "caption": "a dog"}\n' * 2, r"line 1: .* required field `image`"),
        (b"PAR1\x15\x04", "is Parquet, .* known are .*JSON Lines"),
        (b"ARROW1\0\0", "is Arrow, .* known are"),
        (b"PK\x03\x04", "is a ZIP archive"),
        (b"\x1f\x8b\x08", "is compressed"),
        (b"0.jpg".ljust(257, b"\0") + b"ustar\0", r"is a tar archive, as of WebDataset, .* known are"),
        (b"<?xml version='1.0'?><annotation/>", "none of the forms of captions files: .* known are .*CSV"),
        (b"a dog on a beach\na cat\n", "none of the forms of captions files: .* «a dog on a beach»; known are"),
        (b"image,label\na.jpg,3\n", "none of the forms"),
        (b"caption,mood\na dog,3\n", "none of the forms"),
        (b'image,caption\na.jpg,"a dog\nb.jpg,a cat\n', r"line \d: .*quote"),
        (b"image,caption,source\na.jpg,a dog, running,web\n", r"line 2: .* 4 fields .* 3: .*quotes"),
        (b"image,caption\na.jpg," + b"x" * 5_000_000, r"line 2: .*limit"),
        (b'{"file_name": "a.jpg", "text": "x"}\n{"file_name": "b.jpg", "te', r"not valid JSON \(line 2: .*truncated"),
        (b'{"file_name": "a.jpg", "text": "x"}\n{"text": "x"}', r"line 2: .* required field `image`"),
        (b'{"version": "1.0", "data": [1]}', "none of the forms"),
    ],
)
def test_a_form_that_is_not_known_is_named_with_those_that_are(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "captions"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_annotations(path)
    assert len(str(error.value)) <= 500
