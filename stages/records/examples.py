"""Pictures with reference captions, as they lie on disk: `images/` and `captions.json` in COCO's annotation format."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ValidationError

from stages.captioner.command_line import InputError, explain

EVALUATION, CALIBRATION, SEARCH = Path("data/eval"), Path("data/calibration"), Path("data/search")
# What the stage `host` records of the files that they are made of.
PICTURES = Path("data/inputs/pictures.json")
# Captions for checkpoints to guess words from.
DRAFTED = Path("data/drafts.json")
CAPTIONS = "captions.json"


class CocoImage(BaseModel):
    """An entry of `images` in COCO's annotation format."""

    id: int
    file_name: str


class CocoAnnotation(BaseModel):
    """An entry of `annotations` in COCO's annotation format."""

    image_id: int
    caption: str


class CocoCaptions(BaseModel):
    """A file in COCO's annotation format, as far as captions go."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]


@dataclass(frozen=True)
class Example:
    """A picture, in memory or in a file to copy, and its reference captions; none if nobody wrote any."""

    name: str
    picture: Image.Image | Path
    captions: list[str]


def read_captions(path: Path) -> CocoCaptions:
    """Reads what the stage `dataset` wrote. Raises InputError if it is absent or of another format."""
    try:
        return CocoCaptions.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"there is no {path}: make it with `dvc repro dataset`") from None
    except ValidationError as error:
        raise InputError(
            f"{path} is not in COCO's annotation format ({explain(error)}): make it anew with `dvc repro -f dataset`"
        ) from None


def read_examples(folder: Path) -> list[tuple[Path, list[str]]]:
    """The pictures that this stage wrote into a folder, in order, each with its reference captions."""
    content = read_captions(folder / CAPTIONS)
    captions: dict[int, list[str]] = defaultdict(list)
    for annotation in content.annotations:
        captions[annotation.image_id].append(annotation.caption)
    return [(folder / "images" / image.file_name, captions[image.id]) for image in content.images]
