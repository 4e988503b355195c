"""What there is of a picture whose file was cut off, in formats other than JPEG.

Pillow has one switch for the whole process that makes it pass over missing data, and then nobody knows what is missing.
Here, everything is decoded twice over two different grounds or before two different ends: where both pictures are the
same, they are the file's own.
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageChops

if TYPE_CHECKING:
    import numpy as np

# What interrupted downloads leave where nothing arrived.
HOLE = 64  # bytes that are zero
HOLE_IN_PNG = bytes(512)
PNG = b"\x89PNG\r\n\x1a\n"
LONGEST_END = 100_000_000  # bytes that are put in the place of missing ones
ENDS = 16  # that are tried, as decoders refuse most that make no sense
NOISE = 4096  # bytes
AVIF = (b"ftypavif", b"ftypavis")
WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
# How many rows of pixels a decoder works on at once.
ROWS = {"WEBP": 16, "AVIF": 64}


class CutOff(NamedTuple):
    """A picture as far as its file goes, not yet turned."""

    image: Image.Image
    missing: Image.Image  # white where there is nothing to show, else black
    share: float  # of the pixels that is there, from 0 to 1
    orientation: object


# Decodes an open picture where it is and returns how it has to be turned.
Load = Callable[[Image.Image], object]


class Held(NamedTuple):
    """The bytes that a file holds, and how many more its first picture has."""

    content: bytes
    lacking: int


def find_held(content: bytes) -> Held | None:
    """What a WebP or AVIF file holds, if its header says that it has more; None if not, and of other formats.

    Zeros at the end are what did not arrive.
    """
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    length = _end_of_boxes(content) if content[4:12] in AVIF else 0
    if webp:
        length = 8 + int.from_bytes(content[4:8], "little")
    held = content[:length]
    stripped = held.rstrip(b"\0")
    held = stripped if len(held) - len(stripped) >= HOLE else held
    if len(held) == length:
        return None
    return _held_webp(held) if webp else Held(held, length - len(held))


def _held_webp(content: bytes) -> Held | None:
    """The chunks of a WebP until the first picture; of later frames and of EXIF, those that are whole."""
    place, shown = 12, False
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        end = place + 8 + size + size % 2
        if end > len(content):
            break
        shown |= content[place : place + 4] in WEBP_PICTURES
        place = end
    if shown:
        content, end = content[:place], place
    elif place + 8 > len(content):
        return None
    return Held(content[:4] + (end - 8).to_bytes(4, "little") + content[8:], end - len(content))


def find_hole_in_png(content: bytes) -> int | None:
    """Where the zeros begin in a PNG that can't be its own, as their chunk is not what its checksum says, if there are.

    Decompressed, they may be many rows of nonsense, and Pillow doesn't look at the checksum.
    """
    hole = content.find(HOLE_IN_PNG)
    place = len(PNG)
    while hole >= 0 and place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        if hole < end + 4:
            right = zlib.crc32(memoryview(content)[place + 4 : end]) == int.from_bytes(content[end : end + 4])
            hole = content.find(HOLE_IN_PNG, end + 4) if right else hole
            if not right:
                return hole
        if content[place + 4 : place + 8] == b"IEND":
            return None
        place = end + 4
    return None


def _end_of_boxes(content: bytes) -> int:
    """Where the last box of a file ends that consists of boxes (ISO/IEC 14496-12)."""
    place = 0
    while place + 16 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        if size == 1:  # it follows the name, in eight bytes
            size = int.from_bytes(content[place + 8 : place + 16])
        if size < 8 or not content[place + 4 : place + 8].isalnum():  # as long as the file, or no box
            break
        place += size
    return place


def before_other_ends(held: Held, load: Load) -> CutOff:
    """The picture in what there is of a WebP or AVIF file.

    Raises OSError, or whatever Pillow does, if nothing can be decoded.
    """
    content, lacking = held.content, min(held.lacking, LONGEST_END)
    with Image.open(io.BytesIO(content + bytes(lacking))) as image:
        orientation = load(image)
    for end in _ends(lacking):
        with suppress(Exception), Image.open(io.BytesIO(content + end)) as other:
            load(other)
            difference = ImageChops.difference(image.convert("RGBA"), other.convert("RGBA"))
            missing = _behind_the_first_difference(difference, ROWS[image.format or ""])
            return CutOff(image, missing, missing.histogram()[0] / (missing.width * missing.height), orientation)
    raise OSError("image file is truncated")


def _ends(length: int) -> Iterator[bytes]:
    """Noise, and ever shorter noise before zeros."""
    for number in range(ENDS):
        yield hashlib.shake_128(bytes([number])).digest(min(length, NOISE >> number // 2)).ljust(length, b"\0")


def _behind_the_first_difference(difference: Image.Image, rows: int) -> Image.Image:
    """White where nothing can be there of a picture that comes in blocks of so many rows, from left to right."""
    missing = Image.new("L", difference.size)
    if box := difference.getbbox(alpha_only=False):
        top = box[1] // rows * rows
        bottom = min(top + rows, difference.height)
        band = difference.crop((0, top, difference.width, bottom)).getbbox(alpha_only=False)
        missing.paste(255, (band[0] if band else 0, top, difference.width, bottom))
        missing.paste(255, (0, bottom, *difference.size))
    return missing


def over_other_grounds(open_file: Callable[[], Image.Image], load: Load) -> CutOff:
    """The picture that a decoder writes into memory until it fails, and where it writes nothing.

    Raises OSError, or whatever Pillow does, if nothing can be decoded.
    """
    import numpy as np  # here, as few pictures need it and a captioner's start would wait for it

    with open_file() as image, open_file() as other:
        interlaced = _is_interlaced(image)
        first, orientation = _load_over(0, image, load)
        second, _ = _load_over(255, other, load)
    differing = np.asarray(first) != np.asarray(second)
    missing = differing if differing.ndim == 2 else differing.any(axis=2)
    share = 1 - float(missing.mean())
    if interlaced:
        _spread(first, missing)
    return CutOff(first, Image.fromarray(missing.astype(np.uint8) * 255), share, orientation)


def _load_over(ground: int, image: Image.Image, load: Load) -> tuple[Image.Image, object]:
    """Decodes as much as there is over a ground of one value."""
    prepare_memory, load_all = image.load_prepare, image.load  # type: ignore[attr-defined]
    bands = Image.getmodebands(image.mode)
    ink = (ground,) * bands if bands > 1 else ground

    def prepare_ground() -> None:
        prepare_memory()
        for tile in image.tile:  # type: ignore[attr-defined]
            image.im.paste(ink, tile.extents)

    def load_what_is_there() -> None:
        with suppress(Exception):
            load_all()
        image.tile = []  # type: ignore[attr-defined]  # or every use of it would begin to decode it anew

    # Pillow's own methods, of this one picture.
    image.load_prepare, image.load = prepare_ground, load_what_is_there  # type: ignore
    orientation = load(image)
    image.load = load_all  # type: ignore[method-assign]
    return image.copy(), orientation  # as it lies: a TIFF that is to be turned says that it has been


def _is_interlaced(image: Image.Image) -> bool:
    if image.format == "GIF":
        return bool(image.tile[0].args[1])  # type: ignore[attr-defined]
    return bool(image.info.get("interlace"))


def _spread(image: Image.Image, missing: "np.ndarray") -> None:
    """Puts the pixels of the first passes in the place of those that later ones would have brought, as viewers do.

    `missing`, a bool for each pixel, becomes false where that is possible.
    """
    import numpy as np

    values = np.array(image)
    for step in (2, 4, 8):
        rows, columns = (np.arange(side) // step * step for side in missing.shape)
        coarser = np.ix_(rows, columns)
        spread = missing & ~missing[coarser]
        values[spread] = values[coarser][spread]
        missing &= ~spread
    image.frombytes((np.packbits(values, axis=1) if image.mode == "1" else values).tobytes())
