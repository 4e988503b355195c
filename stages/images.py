"""Opens a picture file as a person sees it: upright, on white, in sRGB colors, its first frame."""

import io
import warnings
from pathlib import Path

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from stages.command_line import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def open_image(path: Path) -> Image.Image:
    """The picture in a file as 8-bit RGB.

    Applies EXIF rotation and color profiles, puts transparent pictures on white, scales 16-bit gray values to 8 bits
    and takes the first frame of animations.

    Raises InputError if the file is no picture, is damaged, or is so large that it may be a decompression bomb.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the name") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture that can be read: convert it to JPEG or PNG") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise InputError(f"{path} has more than {limit} million pixels, perhaps to exhaust memory: shrink it") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} can't be read as a picture ({error}): replace it") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _stretch_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        colors = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colors).convert("RGB")
    return _to_srgb(image).convert("RGB")


def _stretch_to_8_bits(image: Image.Image) -> Image.Image:
    """Gray values of more than 8 bits to 0..255: of 16 bits by their full scale, others by the range they use."""
    import numpy as np  # here, as few pictures need it and a captioner's start would wait for it

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        low, high = 0.0, 65535.0
    scaled = (values - low) / (high - low or 1.0) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError):
        return image  # a broken profile is ignored, as picture viewers do
