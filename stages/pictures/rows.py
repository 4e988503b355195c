"""What rows of captions files have in common, in JSON and in tables: a picture's name, its captions, its split."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Purpose = Literal["evaluation", "calibration"]

# Which of Karpathy's splits serve for which purpose, in the order in which pictures are drawn from them: COCO's restval
# lies in val2014 with test and val, so who has this folder needs no train2014.
EVALUATION_SPLITS, CALIBRATION_SPLITS = ("test", "val"), ("restval", "train")
SPLITS = (*EVALUATION_SPLITS, *CALIBRATION_SPLITS)

# What a picture's name and its captions are called; where a row has several of each, the first counts.
PICTURE_KEYS = (
    "file_name",
    "filename",
    "image_path",
    "image_file",
    "image_name",
    "image",
    "img_path",
    "img",
    "file",
    "filepath",
    "file_path",
    "path",
)
CAPTION_KEYS = (
    "captions",
    "caption",
    "texts",
    "text",
    "sentences",
    "sentence",
    "raw",
    "comment",
    "description",
    "title",
)
ADDRESS_KEYS = ("url", "image_url", "coco_url")


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture as a captions file names it, its captions, and the one thing it may be used for if the file says so."""

    file_name: str
    captions: list[str]
    purpose: Purpose | None = None


def purpose_of(split: object) -> Purpose | None:
    """What pictures of a split may be used for; None where that is everything."""
    if split in (*EVALUATION_SPLITS, "validation"):
        return "evaluation"
    return "calibration" if split in CALIBRATION_SPLITS else None


def captions_in(value: object) -> list[str]:
    """The captions in a value: a text, a list of them, or an object that holds either under one of the usual keys."""
    own = _under_its_key(value)
    return texts(map(_under_its_key, own) if isinstance(own, list) else [own])


def _under_its_key(value: object) -> object:
    if isinstance(value, dict):
        return next((value[key] for key in CAPTION_KEYS if key in value), None)
    return value


def texts(values: Iterable[object]) -> list[str]:
    """The captions among some values, each in one line."""
    lines = (_in_one_line(value) for value in values if isinstance(value, str))
    return [line for line in lines if line]


def _in_one_line(text: str) -> str:
    line = " ".join(text.split())
    return text if text == line else line  # mostly the same words, and no second copy of 600,000 captions
