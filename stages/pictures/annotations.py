"""Reads captions of pictures as others publish them: COCO's annotations, Karpathy's splits, or a list of pairs."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from stages.captioner.command_line import BYTE_ORDER_MARKS, InputError, brief, read_text

# Which of Karpathy's splits serve for which purpose, in the order in which pictures are drawn from them: COCO's restval
# lies in val2014 with test and val, so who has this folder needs no train2014.
EVALUATION_SPLITS, CALIBRATION_SPLITS = ("test", "val"), ("restval", "train")
SPLITS = (*EVALUATION_SPLITS, *CALIBRATION_SPLITS)
SENTENCES = re.compile(rb'"sentences"\s*:')  # a key that only Karpathy's files have
LIST = re.compile(rb"\s*\[")
NOT_A_NUMBER = re.compile(rb"\b(NaN|Infinity)\b")  # as Python and pandas write them, though JSON has no such thing


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture as a captions file names it, its captions, and the one thing it may be used for if the file says so."""

    file_name: str
    captions: list[str]
    purpose: Literal["evaluation", "calibration"] | None = None


def read_annotations(path: Path) -> list[CaptionedPicture]:
    """The pictures of a captions file that have captions, each file name once, in the order of their ids or the file's.

    Captions that are not text or only blanks are dropped. Raises InputError if the file is absent or of no known form.
    """
    try:
        return _each_once(_pictures(_parse(_read_utf8(path))))
    except FileNotFoundError:
        raise InputError(f"there is no {path}: correct the dataset's entry in params.yaml") from None
    except msgspec.ValidationError as error:
        raise InputError(f"{path} is in none of the forms of captions files: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: save it as such") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({brief(error)}): fetch it again") from None


def _read_utf8(path: Path) -> bytes:
    """What `read_text` reads, but a file in UTF-8 as it is: as a `str` it may be five times as long."""
    with suppress(OSError):
        content = path.read_bytes()
        if not content.startswith(tuple(BYTE_ORDER_MARKS)):
            return content
    return read_text(path).encode()


def _parse(content: bytes) -> "_Coco | _Karpathy | list[_Pair]":
    """What the forms have no use for, most of Karpathy's 150 MB, never becomes objects."""
    form: type[_Coco | _Karpathy | list[_Pair]]
    form = list[_Pair] if LIST.match(content) else _Karpathy if SENTENCES.search(content) else _Coco
    try:
        return msgspec.json.decode(content, type=form)
    except msgspec.DecodeError as error:
        if isinstance(error, msgspec.ValidationError) or not NOT_A_NUMBER.search(content):
            raise
        return msgspec.convert(json.loads(content), form)


def _pictures(parsed: "_Coco | _Karpathy | list[_Pair]") -> list[CaptionedPicture]:
    if isinstance(parsed, _Coco):
        return _from_coco(parsed)
    return _from_karpathy(parsed) if isinstance(parsed, _Karpathy) else _from_pairs(parsed)


def _each_once(pictures: list[CaptionedPicture]) -> list[CaptionedPicture]:
    """Pictures that are listed several times get the captions of all entries, at the place and with the use of one."""
    merged: dict[str, CaptionedPicture] = {}
    for picture in pictures:
        name = str(PurePosixPath(picture.file_name))  # ./x.jpg is x.jpg
        first = merged.setdefault(name, CaptionedPicture(name, [], picture.purpose))
        first.captions.extend([caption for caption in picture.captions if caption not in first.captions])
    return [picture for picture in merged.values() if picture.captions]


def _texts(values: Iterable[object]) -> list[str]:
    """The captions among some values, each in one line."""
    lines = (_in_one_line(value) for value in values if isinstance(value, str))
    return [line for line in lines if line]


def _in_one_line(text: str) -> str:
    line = " ".join(text.split())
    return text if text == line else line  # mostly the same words, and no second copy of 600,000 captions


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
    return [CaptionedPicture(image.file_name, _texts(captions[_id_as_text(image.id)])) for image in images]


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
            _texts(sentence.raw for sentence in image.sentences),
            "evaluation" if image.split in EVALUATION_SPLITS else "calibration",
        )
        for image in sorted(karpathy.images, key=_by_split)
    ]


def _by_split(image: _KarpathyImage) -> tuple[int, tuple[bool, int, str]]:
    id = image.imgid if image.cocoid is None else image.cocoid
    return SPLITS.index(image.split), _by_number(_id_as_text(id))


# A list of pairs, as BLIP's own files: an image's file name and its caption, or several


class _Pair(msgspec.Struct):
    image: str
    caption: Any = None


def _from_pairs(pairs: list[_Pair]) -> list[CaptionedPicture]:
    return [
        CaptionedPicture(pair.image, _texts(pair.caption if isinstance(pair.caption, list) else [pair.caption]))
        for pair in pairs
    ]
