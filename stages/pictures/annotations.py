"""Reads captions files as others publish and keep them: COCO's annotations, Karpathy's splits, rows of all kinds."""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import msgspec
from tokenizers import Tokenizer

from stages.captioner.command_line import BYTE_ORDER_MARKS, InputError, brief, read_text, refuse_pointer, shorten
from stages.captioner.images import SUFFIXES
from stages.pictures.rows import CAPTION_KEYS, PICTURE_KEYS, SPLITS, CaptionedPicture, captions_in, purpose_of, texts
from stages.pictures.tables import UnknownFormError, read_table

FILES = (
    "COCO's and Karpathy's JSON; image (or file_name, …) and caption (or text, …) in JSON, JSON Lines, CSV or TSV; "
    "Flickr8k's and Flickr30k's"
)
OF_PICTURES = f"{FILES}; a folder with a .txt for each picture"
OF_CAPTIONS = f"{FILES}; a .txt with a caption in each line, without tabs"
KINDS = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"PK\x03\x04": "a ZIP archive, or of Excel",
    b"\x1f\x8b": "compressed",
    b"BZh": "compressed",
    b"\xfd7zXZ": "compressed",
    b"\x28\xb5\x2f\xfd": "compressed",
    b"SQLite format 3": "a database",
}
TAR_AT = 257  # where a tar archive says that it is one

SENTENCES = re.compile(rb'"sentences"\s*:')  # a key that only Karpathy's files have
IMAGES = re.compile(rb'"images"\s*:')
LIST = re.compile(rb"\s*\[")
JSON = re.compile(rb"\s*[\[{]")
NOT_A_NUMBER = re.compile(rb"\b(NaN|Infinity)\b")  # as Python and pandas write them, though JSON has no such thing
Form = TypeVar("Form")


def read_annotations(path: Path, known: str = OF_PICTURES) -> list[CaptionedPicture]:
    """The pictures of a captions file that have captions, each file name once, in the order of their ids or the file's.

    Captions that are not text or only blanks are dropped. Raises InputError if the file is absent or of no known form,
    with those that are `known`.
    """
    try:
        content = _read_utf8(path)
        _check_kind(path, content, known)
        is_json = JSON.match(content) or not content.strip()
        return _each_once(_pictures(content) if is_json else read_table(path, content.decode()))
    except FileNotFoundError:
        raise InputError(f"there is no {path}: correct the dataset's entry in params.yaml") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: save it as such, if it is text; known are {known}") from None
    except (msgspec.ValidationError, UnknownFormError) as error:
        what = shorten(str(error), 200)
        raise InputError(f"{path} is in none of the forms of captions files: {what}; known are {known}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({brief(error)}): fetch it again") from None


def captions_of(path: Path) -> list[str]:
    """The captions of a file, one a line or in any form that a dataset's may have, whatever their pictures.

    Raises InputError if the file is absent, of no known form, or has none.
    """
    if not path.is_file():
        what = f"{path} is no file" if path.exists() else f"there is no captions file {path}"
        raise InputError(f"{what}: correct the entry in params.yaml that names it")
    if path.suffix.lower() == ".txt" and "\t" not in (text := read_text(path)):
        captions = [line for line in text.splitlines() if line.strip()]
    else:
        captions = [caption for picture in read_annotations(path, OF_CAPTIONS) for caption in picture.captions]
    if not captions:
        raise InputError(f"{path} has no captions: name another file in params.yaml, or none")
    return captions


def to_tokens(captions: Sequence[str], tokenizer: Path) -> list[list[int]]:
    """Each caption's token ids by a tokenizer.json, without those that begin and end it."""
    encodings = Tokenizer.from_file(str(tokenizer)).encode_batch(list(captions), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def _read_utf8(path: Path) -> bytes:
    """What `read_text` reads, but a file in UTF-8 as it is: as a `str` it may be five times as long."""
    refuse_pointer(path)
    with suppress(OSError):
        content = path.read_bytes()
        if not content.startswith(tuple(BYTE_ORDER_MARKS)):
            return content
    return read_text(path).encode()


def _check_kind(path: Path, content: bytes, known: str) -> None:
    """Refuses by their names other kinds of files in which captions, or what stands for them, come."""
    kind = next((name for head, name in KINDS.items() if content.startswith(head)), None)
    if content[TAR_AT : TAR_AT + 5] == b"ustar":
        kind = "a tar archive, as of WebDataset"
    if kind:
        raise InputError(f"{path} is {kind}, which is not read here: known are {known}")


def _pictures(content: bytes) -> list[CaptionedPicture]:
    """What the forms of JSON have no use for, most of Karpathy's 150 MB, never becomes objects."""
    if LIST.match(content):
        return _from_rows(_decode(content, _ROWS))
    if _has_lines(content):
        return _from_rows(_decode_lines(content))
    if not IMAGES.search(content):
        return _from_map(content)
    if SENTENCES.search(content):
        return _from_karpathy(_decode(content, _Karpathy))
    return _from_coco(_decode(content, _Coco))


def _decode(content: bytes, form: type[Form]) -> Form:
    try:
        return msgspec.json.decode(content, type=form)
    except msgspec.DecodeError as error:
        if isinstance(error, msgspec.ValidationError) or not NOT_A_NUMBER.search(content):
            raise
        return msgspec.convert(json.loads(content), form)


def _each_once(pictures: list[CaptionedPicture]) -> list[CaptionedPicture]:
    """Pictures that are listed several times get the captions of all entries, at the place and with the use of one."""
    merged: dict[str, CaptionedPicture] = {}
    for picture in pictures:
        name = str(PurePosixPath(picture.file_name))  # ./x.jpg is x.jpg
        first = merged.setdefault(name, CaptionedPicture(name, [], picture.purpose))
        first.captions.extend([caption for caption in picture.captions if caption not in first.captions])
    return [picture for picture in merged.values() if picture.captions]


def _id_as_text(id: "_Id") -> str:
    """Ids are compared as text, for some tools write 42 in one list and "42" in the other, or 42.0 in both."""
    return str(int(id)) if isinstance(id, float) and id.is_integer() else str(id)


def _by_number(id: str) -> tuple[bool, int, str]:
    """Sorts ids that are whole numbers by their value, then the others by their letters."""
    number = id.removeprefix("-").isdecimal() and len(id) < 100
    return (not number, int(id) if number else 0, id)


_Id = int | float | str


# COCO: images and annotations, which belong together by the images' ids


class _CocoImage(msgspec.Struct):
    id: _Id
    file_name: str


class _CocoAnnotation(msgspec.Struct):
    image_id: _Id
    caption: Any = None


class _Coco(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]

    def __post_init__(self) -> None:
        names: dict[str, str] = {}
        for image in self.images:
            if (other := names.setdefault(_id_as_text(image.id), image.file_name)) != image.file_name:
                raise ValueError(f"id {image.id} is that of {other} and of {image.file_name}: correct one")


def _from_coco(coco: _Coco) -> list[CaptionedPicture]:
    captions: dict[str, list[object]] = defaultdict(list)
    for annotation in coco.annotations:
        captions[_id_as_text(annotation.image_id)].append(annotation.caption)
    images = sorted(coco.images, key=lambda image: _by_number(_id_as_text(image.id)))
    return [CaptionedPicture(image.file_name, texts(captions[_id_as_text(image.id)])) for image in images]


# Karpathy's dataset_coco.json and its kin: images with their split and sentences


class _Sentence(msgspec.Struct):
    raw: Any = None


class _KarpathyImage(msgspec.Struct):
    filename: str
    split: str
    sentences: list[_Sentence]
    filepath: str = ""
    imgid: _Id = 0
    cocoid: _Id | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"a split is one of {', '.join(SPLITS)}, and not {self.split}")


class _Karpathy(msgspec.Struct):
    images: list[_KarpathyImage]


def _from_karpathy(karpathy: _Karpathy) -> list[CaptionedPicture]:
    return [
        CaptionedPicture(
            f"{image.filepath}/{image.filename}" if image.filepath else image.filename,
            texts(sentence.raw for sentence in image.sentences),
            purpose_of(image.split),
        )
        for image in sorted(karpathy.images, key=_by_split)
    ]


def _by_split(image: _KarpathyImage) -> tuple[int, tuple[bool, int, str]]:
    id = image.imgid if image.cocoid is None else image.cocoid
    return SPLITS.index(image.split), _by_number(_id_as_text(id))


# A list or lines of objects, as BLIP's own files and Hugging Face's metadata.jsonl: a picture's name and its captions


def _check_row(row: Any) -> None:
    if all(getattr(row, key) is msgspec.UNSET for key in PICTURE_KEYS):
        raise ValueError("Object missing required field `image`")
    if all(getattr(row, key) is msgspec.UNSET for key in CAPTION_KEYS):
        raise ValueError("Object missing required field `caption`")


_Row = msgspec.defstruct(
    "_Row",
    [
        *((key, str | msgspec.UnsetType, msgspec.UNSET) for key in PICTURE_KEYS),
        *((key, Any, msgspec.UNSET) for key in CAPTION_KEYS),
        ("split", Any, None),
    ],
    namespace={"__post_init__": _check_row},
)


_ROWS: Any = list[_Row]  # type: ignore[valid-type]


def _has_lines(content: bytes) -> bool:
    """Whether there is an object on the first line and something on others."""
    first, _, others = content.strip().partition(b"\n")
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        return bool(others.strip()) and bool(_decode(first, dict[str, Any]))
    return False


def _decode_lines(content: bytes) -> Iterator[Any]:
    for number, line in enumerate(io.BytesIO(content), 1):
        try:
            if line.strip():
                yield _decode(line, _Row)
        except (msgspec.DecodeError, ValueError) as error:
            raise type(error)(f"line {number}: {error}") from None


def _from_rows(rows: Iterable[Any]) -> list[CaptionedPicture]:
    return [
        CaptionedPicture(_first(row, PICTURE_KEYS), captions_in(_first(row, CAPTION_KEYS)), purpose_of(row.split))
        for row in rows
    ]


def _first(row: Any, keys: Iterable[str]) -> Any:
    return next(value for key in keys if (value := getattr(row, key)) is not msgspec.UNSET)


# An object of file names and their captions, as kohya's metadata


def _from_map(content: bytes) -> list[CaptionedPicture]:
    values = _decode(content, dict[str, Any])
    if not values.keys().isdisjoint(PICTURE_KEYS) and not values.keys().isdisjoint(CAPTION_KEYS):
        return _from_rows([msgspec.convert(values, _Row)])
    pictures = {name: captions_in(value) for name, value in values.items()}
    if not any(own for name, own in pictures.items() if _has_suffix(name) or isinstance(values[name], dict)):
        raise UnknownFormError("Object missing required field `images`, and its keys name no pictures with captions")
    return [CaptionedPicture(name, own) for name, own in pictures.items()]


def _has_suffix(name: str) -> bool:
    return PureWindowsPath(name).suffix.lower() in SUFFIXES
