"""Reads captions of pictures as others publish them: COCO's annotations, Karpathy's splits, or a list of pairs."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError, model_validator

from stages.captioner.command_line import InputError, explain, read_text

# Which of Karpathy's splits serve for which purpose, in the order in which pictures are drawn from them: COCO's restval
# lies in val2014 with test and val, so who has this folder needs no train2014.
EVALUATION_SPLITS, CALIBRATION_SPLITS = ("test", "val"), ("restval", "train")
SENTENCES = re.compile(r'"sentences"\s*:')  # a key that only Karpathy's files have
SPLITS = (*EVALUATION_SPLITS, *CALIBRATION_SPLITS)


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
        return _each_once(_read(read_text(path)))
    except FileNotFoundError:
        raise InputError(f"there is no {path}: correct the dataset's entry in params.yaml") from None
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise InputError(f"{path} is not valid JSON ({explain(error)}): fetch it again") from None
        raise InputError(f"{path} is in none of the forms of captions files: {explain(error)}") from None


def _read(content: str) -> list[CaptionedPicture]:
    """Each form takes the text itself: what it has no use for, most of Karpathy's 150 MB, never becomes objects."""
    if content.lstrip().startswith("["):
        return _from_pairs(content)
    if SENTENCES.search(content):
        return _from_karpathy(content)
    return _from_coco(content)


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
    lines = (" ".join(value.split()) for value in values if isinstance(value, str))
    return [line for line in lines if line]


def _id_as_text(value: object) -> str:
    """Ids are compared as text, for some tools write 42 in one list and "42" in the other, or 42.0 in both."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("an id is a number or a text")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _by_number(id: str) -> tuple[bool, int, str]:
    """Sorts ids that are whole numbers by their value, then the others by their letters."""
    number = id.removeprefix("-").isdecimal() and len(id) < 100
    return (not number, int(id) if number else 0, id)


Id = Annotated[str, BeforeValidator(_id_as_text)]


# COCO: images and annotations, which belong together by the images' ids


@dataclass(slots=True)
class _CocoImage:
    id: Id
    file_name: str


@dataclass(slots=True)
class _CocoAnnotation:
    image_id: Id
    caption: Any = None


class _Coco(BaseModel):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        names: dict[str, str] = {}
        for image in self.images:
            if (other := names.setdefault(image.id, image.file_name)) != image.file_name:
                raise ValueError(f"id {image.id} is that of {other} and of {image.file_name}: correct one")
        return self


def _from_coco(content: str) -> list[CaptionedPicture]:
    coco = _Coco.model_validate_json(content)
    captions: dict[str, list[object]] = defaultdict(list)
    for annotation in coco.annotations:
        captions[annotation.image_id].append(annotation.caption)
    images = sorted(coco.images, key=lambda image: _by_number(image.id))
    return [CaptionedPicture(image.file_name, _texts(captions[image.id])) for image in images]


# Karpathy's dataset_coco.json and its kin: images with their split and sentences


@dataclass(slots=True)
class _Sentence:
    raw: Any = None


@dataclass(slots=True)
class _KarpathyImage:
    filename: str
    split: Literal["test", "val", "train", "restval"]
    sentences: list[_Sentence]
    filepath: str = ""
    imgid: Id = "0"
    cocoid: Id | None = None


class _Karpathy(BaseModel):
    images: list[_KarpathyImage]


def _from_karpathy(content: str) -> list[CaptionedPicture]:
    images = _Karpathy.model_validate_json(content).images
    images.sort(key=lambda image: (SPLITS.index(image.split), _by_number(image.cocoid or image.imgid)))
    return [
        CaptionedPicture(
            f"{image.filepath}/{image.filename}" if image.filepath else image.filename,
            _texts(sentence.raw for sentence in image.sentences),
            "evaluation" if image.split in EVALUATION_SPLITS else "calibration",
        )
        for image in images
    ]


# A list of pairs, as BLIP's own files: an image's file name and its caption, or several


@dataclass(slots=True)
class _Pair:
    image: str
    caption: Any = None


def _from_pairs(content: str) -> list[CaptionedPicture]:
    pairs = TypeAdapter(list[_Pair]).validate_json(content)
    return [
        CaptionedPicture(pair.image, _texts(pair.caption if isinstance(pair.caption, list) else [pair.caption]))
        for pair in pairs
    ]
