"""Reads captions of pictures as others publish them: COCO's annotations, Karpathy's splits, or a list of pairs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from stages.captioner.command_line import InputError, explain, read_text

# Which of Karpathy's splits serve for which purpose, in the order in which pictures are drawn from them.
EVALUATION_SPLITS, CALIBRATION_SPLITS = ("test", "val"), ("train", "restval")
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
        content = from_json(read_text(path))
    except FileNotFoundError:
        raise InputError(f"there is no {path}: correct the dataset's entry in params.yaml") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}): fetch it again") from None
    try:
        return _each_once(_read(content))
    except ValidationError as error:
        raise InputError(f"{path} is in none of the forms of captions files: {explain(error)}") from None


def _read(content: Any) -> list[CaptionedPicture]:
    if isinstance(content, list):
        return _from_pairs(content)
    images = content.get("images") if isinstance(content, dict) else None
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images):
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


class _CocoImage(BaseModel):
    id: Id
    file_name: str


class _CocoAnnotation(BaseModel):
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


def _from_coco(content: Any) -> list[CaptionedPicture]:
    coco = _Coco.model_validate(content)
    captions: dict[str, list[object]] = defaultdict(list)
    for annotation in coco.annotations:
        captions[annotation.image_id].append(annotation.caption)
    images = sorted(coco.images, key=lambda image: _by_number(image.id))
    return [CaptionedPicture(image.file_name, _texts(captions[image.id])) for image in images]


# Karpathy's dataset_coco.json and its kin: images with their split and sentences


class _Sentence(BaseModel):
    raw: Any = None


class _KarpathyImage(BaseModel):
    filename: str
    filepath: str = ""
    imgid: Id = "0"
    cocoid: Id | None = None
    split: Literal["test", "val", "train", "restval"]
    sentences: list[_Sentence]


class _Karpathy(BaseModel):
    images: list[_KarpathyImage]


def _from_karpathy(content: Any) -> list[CaptionedPicture]:
    images = _Karpathy.model_validate(content).images
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


class _Pair(BaseModel):
    image: str
    caption: Any = None


def _from_pairs(content: list[Any]) -> list[CaptionedPicture]:
    pairs = TypeAdapter(list[_Pair]).validate_python(content)
    return [
        CaptionedPicture(pair.image, _texts(pair.caption if isinstance(pair.caption, list) else [pair.caption]))
        for pair in pairs
    ]
