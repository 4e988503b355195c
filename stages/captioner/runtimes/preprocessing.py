"""Turns pictures into the encoder's pixels with Pillow and numpy alone, as transformers' image processor does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt, ValidationError

from ..checkpoint import read_small
from ..command_line import InputError, explain

PREPROCESSOR = "preprocessor_config.json"
LARGEST_SETTINGS = 1024**2  # bytes
LONGEST_SIDE = 4096  # pixels, ten times as many as BLIP takes


class Size(BaseModel):
    """Pixels of the square, or not, that pictures are stretched to."""

    model_config = ConfigDict(frozen=True)

    height: PositiveInt = Field(le=LONGEST_SIDE)
    width: PositiveInt = Field(le=LONGEST_SIDE)


class Preprocessing(BaseModel):
    """`preprocessor_config.json` in transformers' format, as far as BLIP goes, with BLIP's own defaults."""

    model_config = ConfigDict(frozen=True)

    do_resize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    size: Size = Size(height=384, width=384)
    resample: Image.Resampling = Image.Resampling.BICUBIC
    rescale_factor: FiniteFloat = 1 / 255
    image_mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.26862954, 0.26130258, 0.27577711)


def read_preprocessing(checkpoint: Path) -> Preprocessing:
    """Reads a checkpoint's settings. Raises InputError if they ask for what this module does not do."""
    path = checkpoint / PREPROCESSOR
    try:
        return Preprocessing.model_validate_json(read_small(path, LARGEST_SETTINGS))
    except ValidationError as error:
        raise InputError(f"{path} is not BLIP's way to prepare pictures ({explain(error)}): correct it") from None


def preprocess(images: Sequence[Image.Image], settings: Preprocessing) -> np.ndarray:
    """RGB pictures of any size to normalized pixels, float32 (pictures, 3, height, width)."""
    height, width = settings.size.height, settings.size.width
    pixels = np.empty((len(images), 3, height, width), dtype=np.float32)
    # Rescaling, centering and scaling are one multiplication and one addition per color.
    factors = settings.rescale_factor / np.asarray(settings.image_std)
    offsets = -np.asarray(settings.image_mean) / np.asarray(settings.image_std)
    for picture, image in zip(pixels, images, strict=True):
        values = np.asarray(image.resize((width, height), settings.resample))
        for color, plane in enumerate(picture):
            np.multiply(values[:, :, color], np.float32(factors[color]), out=plane)
            plane += np.float32(offsets[color])
    return pixels
