"""How much of its picture a JPEG file holds, by what a decoder makes of it.

A decoder that runs out of data paints the rest gray and tells nobody. So the data is decoded twice, with other bytes
behind it: where both pictures are the same, they are the file's own.
"""

import hashlib
import io
import re
from typing import NamedTuple

from PIL import Image, ImageChops

END = b"\xff\xd9"
# What ends a scan's data, in which 0xff is followed by 0, or by the number of a restart.
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
END_MARKER, SCAN_MARKER, WITHOUT_SEGMENT = 0xD9, 0xDA, (0x01, 0xD8)
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
COEFFICIENTS = 64  # of a block of 8 x 8 pixels
BLOCK_BYTES = 256  # more than one block takes
# What interrupted downloads leave where nothing arrived. Only of one color, a picture may have as many of its own.
HOLE = bytes(64)
HOLE_BETWEEN_RESTARTS = bytes(512)
NOISE = hashlib.shake_128(b"no picture").digest(4096).replace(b"\xff", b"\0")
# A decoder that waits for a restart passes over all before its marker.
OTHER_TAIL = NOISE + b"".join(bytes([0xFF, 0xD0 + number]) + NOISE[:1024] for number in range(8))
LARGE = 4_000_000  # pixels; of more, the passes are compared at a fraction of the size


class JpegPart(NamedTuple):
    """A JPEG as far as it goes: bytes that decode, gray where nothing is there, and the share that is, from 0 to 1."""

    content: bytes
    share: float


class _Scan(NamedTuple):
    """A pass over the picture: where its data lies, which coefficients of which components it has, and how finely."""

    begin: int
    end: int
    components: bytes
    coefficients: range
    precision: float  # 1 if all bits are there, half as much for each that a later pass brings
    plain: bool  # one bit for each block, of which any number may be zeros


class _Frame(NamedTuple):
    blocks: dict[int, int]  # of each component in a unit
    rows: int  # of pixels in a unit


def find_part(content: bytes) -> JpegPart:
    """What a JPEG file holds of its picture; data ends where zeros begin that can be no picture's, too.

    The share is of the rows. Of a progressive JPEG, whose every pass goes over all rows, it is of the coefficients,
    where one counts half as much for each of its bits that is still to come. A file that has its end and lacks nothing
    before it is whole.

    Raises whatever Pillow does if it can't be decoded.
    """
    frame, scans, ended = _read_structure(content)
    if not (frame and scans):
        return JpegPart(content if ended else content + END, 0.0)
    one_pass = len(scans) == 1
    for number, scan in enumerate(scans):
        hole = content.find(HOLE, scan.begin, scan.end)
        if hole >= 0 and not scan.plain and not _is_own(hole, content, scan, frame, one_pass):
            scans, ended = [*scans[:number], scan._replace(end=hole)], False
            break
    content = content[: scans[-1].end]
    there = _rows_there(content, frame, one_pass)
    if ended and there == 1:
        return JpegPart(content + END, 1.0)
    before, after = [0.0, *_accumulate(scans, frame)][-2:]
    return JpegPart(content + END, before + there * (after - before))


def _accumulate(scans: list[_Scan], frame: _Frame) -> list[float]:
    """The share of all coefficients that is there after each pass."""
    total = sum(frame.blocks.values()) * COEFFICIENTS
    known = {component: [0.0] * COEFFICIENTS for component in frame.blocks}

    def add(scan: _Scan) -> float:
        for component in scan.components:
            for coefficient in scan.coefficients:
                known[component][coefficient] = scan.precision
        return sum(frame.blocks[component] * sum(own) for component, own in known.items()) / total

    return [add(scan) for scan in scans]


def _read_structure(content: bytes) -> tuple[_Frame | None, list[_Scan], bool]:
    """The frame's units, the scans as far as they go, and whether the end is marked."""
    frame: _Frame | None = None
    scans: list[_Scan] = []
    place, in_scan = 2, False
    while found := MARKER.search(content, place):
        if in_scan:
            scans[-1], in_scan = scans[-1]._replace(end=found.start()), False
        marker, place = content[found.end() - 1], found.end()
        if marker == END_MARKER:
            return frame, scans, True
        if marker in WITHOUT_SEGMENT:
            continue
        segment = content[place + 2 : place + int.from_bytes(content[place : place + 2])]
        place += 2 + len(segment)
        if marker in FRAME_MARKERS:
            frame = _read_frame(segment)
        elif marker == SCAN_MARKER and frame and (scan := _read_scan(segment, frame, place, len(content))):
            scans.append(scan)
            in_scan = True
    if in_scan:
        scans[-1] = scans[-1]._replace(end=len(content.rstrip(b"\xff")))
    return frame, scans, False


def _read_frame(segment: bytes) -> _Frame | None:
    components = [segment[place : place + 3] for place in range(6, len(segment) - 2, 3)]
    blocks = {own[0]: (own[1] >> 4) * (own[1] & 15) for own in components}
    if not all(blocks.values()) or not blocks:
        return None
    return _Frame(blocks, 8 * (max(own[1] & 15 for own in components) if len(components) > 1 else 1))


def _read_scan(segment: bytes, frame: _Frame, begin: int, end: int) -> _Scan | None:
    components = segment[1:-3:2]
    if len(segment) < 6 or len(segment) != 4 + 2 * segment[0] or not set(components) <= frame.blocks.keys():
        return None
    first, last, bits = segment[-3:]
    coefficients = range(first, min(last + 1, COEFFICIENTS))
    return _Scan(begin, end, components, coefficients, 2.0 ** -(bits & 15), plain=last == 0 and bits >> 4 > 0)


def _is_own(hole: int, content: bytes, scan: _Scan, frame: _Frame, one_pass: bool) -> bool:
    """Whether zeros are a scan's own: then its data is what its blocks need, neither less nor more.

    Where decoding restarts at markers, that would always seem so behind a hole; but there few zeros come in a row.
    """
    if RESTART.search(content, scan.begin, scan.end):
        return content.find(HOLE_BETWEEN_RESTARTS, hole, scan.end) < 0
    shorter = max(scan.begin, scan.end - BLOCK_BYTES)
    whole, lacking, before = (_rows_there(content[:end], frame, one_pass) for end in (scan.end, shorter, hole))
    return whole == 1 and (lacking < 1 or before == 1)  # some passes bring nothing, whatever follows


def _rows_there(content: bytes, frame: _Frame, one_pass: bool) -> float:
    """The share of the picture that does not depend on what follows these bytes; 1 if all of the last pass is there."""
    content = content.rstrip(b"\xff")  # with what follows, it would be a marker
    first, second = (_decode(content + tail + END, one_pass) for tail in (b"", OTHER_TAIL))
    difference = ImageChops.difference(first.image, second.image)
    differing = difference.getbbox()
    if differing is None:
        return 1.0
    width, height = difference.size
    rows = max(1, round(frame.rows * height / first.full_height))
    top = differing[1] // rows * rows
    bottom = min(top + rows, height)
    band = difference.crop((0, top, width, bottom)).getbbox() or (0, 0, 0, 0)
    return (top + (bottom - top) * band[0] / width) / height


class _Decoded(NamedTuple):
    image: Image.Image
    full_height: int


def _decode(content: bytes, one_pass: bool) -> _Decoded:
    """A picture at an eighth of its size, where each block is a pixel; larger, where passes refine the blocks."""
    with Image.open(io.BytesIO(content)) as image:
        full_height = image.height
        fraction = 8 if one_pass else _fraction(image.width * image.height)
        if fraction > 1:
            image.draft(None, (max(1, image.width // fraction), max(1, image.height // fraction)))
        image.load()
        return _Decoded(image, full_height)


def _fraction(pixels: int) -> int:
    return next((by for by in (1, 2, 4) if pixels <= LARGE * by * by), 8)
