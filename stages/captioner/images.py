"""Finds picture files, and opens one as a person sees it: upright, on white, in sRGB colors, its first frame."""

import io
import math
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from .command_line import SHORT, InputError, brief, printable, refuse_pointer
from .cut_off import AVIF, PNG, CutOff, before_other_ends, find_held, find_hole_in_png, over_other_grounds
from .jpeg_scans import find_part
from .pointers import is_absent_from_annex

# What the names of pictures end in: what Pillow decodes without the help of other programs, and HEIC with its plugin's.
# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".flc", ".fli", ".ftc", ".ftu",
    ".gbr", ".gif", ".heic", ".heif", ".hif", ".icb", ".icns", ".ico", ".im", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".pxr", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm",
    ".xpm",
})
# fmt: on
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
LARGEST = 500_000_000  # pixels, which take 2 GB; more may be there to exhaust memory
LARGE = 64_000_000  # pixels; more are averaged to fewer, as a captioner shrinks them to far fewer anyway
LONGEST_PNG_TEXT = 64 * 1024**2  # bytes; editors and image generators keep a picture's history in such texts
GRAY = (128, 128, 128)  # where nothing is there
CUT_OFF = "cut_off"  # the entry of a picture's info
SLIVER = 0.01  # of a picture may be missing where it counts in a figure
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
ORIENTATION = 0x0112  # the EXIF tag
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def allow_large_pictures() -> None:
    """Sets Pillow's limits, which are the whole process's, to 500 million pixels and to long texts in PNG files."""
    from PIL import PngImagePlugin  # here, as few who import this module open pictures

    Image.MAX_IMAGE_PIXELS = LARGEST // 2  # Pillow warns above it and refuses above its double
    PngImagePlugin.MAX_TEXT_CHUNK = LONGEST_PNG_TEXT
    PngImagePlugin.MAX_TEXT_MEMORY = 4 * LONGEST_PNG_TEXT


def pictures_below(folder: Path) -> list[Path]:
    """The files in a folder and below that are named as pictures are, by name.

    What is hidden is passed over, and so are links to nowhere but for git-annex's, whose files are only not here yet.
    Links to folders are followed, and a folder to which several ways lead is searched once. Raises InputError if a
    folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{printable(error.filename)} can't be listed ({error.strerror}): change its permissions")

    found: list[Path] = []
    searched: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(parent)
        identity = (status.st_dev, status.st_ino)
        if identity in searched:  # a link led round
            folders.clear()
            continue
        searched.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(parent, name) for name in files if not name.startswith(".")]
        pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
        found += [path for path in pictures if os.path.isfile(path) or is_absent_from_annex(path)]
    return sorted(found)


def open_image(file: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file as 8-bit RGB, of at most 64 million pixels: larger ones are averaged to fewer.

    Applies EXIF rotation and color profiles, puts transparent pictures on white, scales 16-bit gray values to 8 bits
    and takes the first frame of animations.

    Of a file that was cut off, the picture is gray where nothing is there, and `info["cut_off"]` is the share that is,
    from 0 to 1: of the pixels, or of what the passes of a progressive JPEG bring. A whole picture has no such entry.

    Raises InputError if the file is no picture or none that can be decoded, is damaged, or has more pixels than Pillow
    allows, which is twice its MAX_IMAGE_PIXELS; nothing else, whatever the file holds.
    """
    path = Path(file)
    name = printable(path)
    try:
        return _see(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: check the name") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture that can be read: convert it to JPEG or PNG") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise InputError(f"{name} has more than {limit} million pixels, perhaps to exhaust memory: shrink it") from None
    except MemoryError:
        raise InputError(f"{name} needs more memory than there is: shrink it") from None
    except Exception as error:  # a damaged file makes Pillow's readers raise anything, and others wait behind it
        raise InputError(f"{name} can't be read as a picture ({brief(error)}): replace it") from None


def open_whole(file: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file that is to count in a figure, as `open_image` gives it.

    Raises InputError also if more than a hundredth of it is missing.
    """
    image = open_image(file)
    if (share := share_there(image)) < 1 - SLIVER:
        raise InputError(f"{cut_off_in_words(Path(file), share)}: fetch it again")
    return image


def share_there(image: Image.Image) -> float:
    """The share of a picture of `open_image` that its file holds; 1 if it is whole."""
    share: float = image.info.get(CUT_OFF, 1.0)
    return share


def cut_off_in_words(path: Path, share: float) -> str:
    """What is to be said of a picture that was cut off; never that all of it is there, or nothing."""
    per_mille = max(1, math.floor(1000 * share))
    return f"{printable(path)} is cut off, and {per_mille / 10:g} % of it is there"


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode in memory, as `open_image` gives those in files.

    Raises InputError if it is none or can't be decoded.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"{brief(SHORT.repr(image))} is no picture of Pillow's: open its file with `open_image`")
    try:
        image.load()
        if image.mode == "RGB" and image.info.keys() <= {CUT_OFF}:
            return image
        return _finish(_turn(image, _orientation(image)))
    except Exception as error:  # a damaged file makes Pillow's readers raise anything
        raise InputError(f"a picture can't be decoded ({brief(error)}): replace it") from None


def _see(path: Path) -> Image.Image:
    """The picture in a file as far as it goes."""
    refuse_pointer(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe could keep everybody waiting
        raise InputError(f"{printable(path)} is a folder, a pipe or a device: name a picture file")
    if status.st_size == 0:
        raise InputError(f"{printable(path)} is empty: replace it")
    with path.open("rb") as stream:
        head = stream.read(12)
    if head.startswith(b"\xff\xd8"):
        return _see_jpeg(path.read_bytes())
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and not _register_heif():
        raise InputError(f"{printable(path)} is HEIC: convert it to JPEG, or install pillow-heif")
    if (head.startswith(b"RIFF") or head[4:12] in AVIF) and (held := find_held(path.read_bytes())):
        return _finish_cut_off(before_other_ends(held, _load))
    if head.startswith(PNG):
        content = path.read_bytes()
        hole = find_hole_in_png(content)
        return _see_other(lambda: Image.open(path if hole is None else io.BytesIO(content[:hole])))
    return _see_other(lambda: Image.open(path))


def _see_jpeg(content: bytes) -> Image.Image:
    part = find_part(content)
    with Image.open(io.BytesIO(part.content)) as image:
        if not part.share:
            raise OSError("it is cut off before its picture begins")
        orientation = _load(image)
        return _with_share(_finish(_turn(image, orientation)), part.share)


def _see_other(open_file: Callable[[], Image.Image]) -> Image.Image:
    with open_file() as image:
        try:
            orientation = _load(image)
        except (Image.DecompressionBombError, MemoryError):
            raise
        except Exception as error:
            failure: Exception | None = error
        else:
            failure = None
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                return _finish(_turn(image, orientation))
    try:
        part = over_other_grounds(open_file, _load)
    except Exception:
        part = None
    if part is None or not part.share:
        raise failure or OSError("it is cut off before its picture begins")
    return _finish_cut_off(part)


def _finish_cut_off(part: CutOff) -> Image.Image:
    """A picture that is gray where nothing is there, as JPEG's decoder paints it."""
    if not part.share:
        raise OSError("it is cut off before its picture begins")
    rgb = _finish(_turn(part.image, part.orientation))
    missing = _turn(part.missing, part.orientation).resize(rgb.size, Image.Resampling.NEAREST)
    rgb.paste(GRAY, mask=missing)
    return _with_share(rgb, part.share)


def _with_share(rgb: Image.Image, share: float) -> Image.Image:
    if share < 1:
        rgb.info[CUT_OFF] = share
    return rgb


def _register_heif() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _load(image: Image.Image) -> object:
    """Decodes the first frame, a large JPEG at a fraction of its size. Returns EXIF's orientation."""
    factor = _factor(image)
    if factor > 1:
        image.draft(None, (image.width >> (factor - 1).bit_length(), image.height >> (factor - 1).bit_length()))
    if image.format == "PNG":
        image.load()  # first, as EXIF may follow the pixels
    orientation = _orientation(image)
    with suppress(Exception):  # lest Pillow applies it to a TIFF and writes all EXIF anew, which can fail
        del image.getexif()[ORIENTATION]
    image.load()
    return orientation


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # broken EXIF is ignored, as picture viewers do
        return None


def _turn(image: Image.Image, orientation: object) -> Image.Image:
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation in TRANSPOSITIONS else image


def _factor(image: Image.Image) -> int:
    """By how much width and height have to be divided for a picture not to be large."""
    return math.ceil(math.sqrt(image.width * image.height / LARGE))


def _shrink(image: Image.Image) -> Image.Image:
    factor = _factor(image)
    if factor <= 1:
        return image
    if image.mode.startswith("I;"):  # which Pillow can't average
        return image.resize((max(1, image.width // factor), max(1, image.height // factor)), Image.Resampling.NEAREST)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    return image.reduce(factor)


def _finish(image: Image.Image) -> Image.Image:
    if image.mode in PREMULTIPLIED:  # which Pillow converts to nothing else
        image = image.convert(PREMULTIPLIED[image.mode])
    rgb = _to_rgb(_shrink(image))
    rgb.info = {}  # what has been applied must not be applied again
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        return _to_srgb(_stretch_to_8_bits(image), profile)
    opaque = image.convert("L" if image.mode in ("1", "L", "LA") else "CMYK" if image.mode == "CMYK" else "RGB")
    colors = _to_srgb(opaque, profile)
    if image.has_transparency_data:
        colors.putalpha(image.convert("RGBA").getchannel("A"))
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colors).convert("RGB")
    return colors


def _stretch_to_8_bits(image: Image.Image) -> Image.Image:
    """Gray values of more than 8 bits to 0..255: of 16 bits by their full scale, others by the range they use."""
    import numpy as np  # here, as few pictures need it and a captioner's start would wait for it

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        low, high = 0.0, 65535.0
    scaled = (values - low) / (high - low or 1.0) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Gray, RGB or CMYK colors, which a profile explains if there is one, as RGB in sRGB."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # a broken profile, or one for other colors, is ignored, as picture viewers do
    return image.convert("RGB")
