"""What `open_image` makes of pictures of which a file holds only a part, and says of them."""

import io
import re
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFile
from pytest import approx

from stages.captioner.command_line import InputError
from stages.captioner.images import open_image, open_whole

GRAY, BLUE, RED = (128, 128, 128), (0, 0, 255), (255, 0, 0)
JPEG_END = b"\xff\xd9"


def photo(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """As much of everything everywhere as a photograph has, and nowhere gray."""
    grain = np.random.default_rng(0).normal(0, 12, (size[1], size[0], 3))
    ramp = np.add.outer(np.linspace(60, 160, size[1]), np.linspace(0, 80, size[0]))[..., None] * [1.0, 0.6, 0.3]
    image = Image.fromarray((ramp + grain).clip(0, 255).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 250)
    return image.convert(mode)


def drawing() -> Image.Image:
    """A few shapes on white, with a bottom of one color, of which good encoders write next to nothing."""
    image = Image.new("L", (2000, 2000), 255)
    ImageDraw.Draw(image).ellipse((100, 100, 900, 500), fill=40)
    return image


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@cache
def whole(name: str) -> bytes:
    """A file of a format, of which further words say more."""
    format, *traits = name.split()
    modes = [trait for trait in traits if trait in ("L", "P", "LA", "RGBA", "CMYK", "1", "I;16")]
    image = drawing() if "drawn" in traits else photo(modes[0] if modes else "RGB")
    options: dict[str, object] = {}
    if "moving" in traits or format == "mpo":
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    if format == "jpeg":
        options |= {"progressive": "progressive" in traits, "optimize": "optimized" in traits}
        options |= {"restart_marker_rows": int("restarts" in traits)}
        options |= {"exif": b"Exif\0\0" + encoded(photo(size=(80, 60)), "jpeg")} if "thumbnail" in traits else {}
    if format == "png" and "interlaced" in traits:
        return interlaced(np.asarray(image))
    if format == "gif":
        options["interlace"] = "interlaced" in traits
    if format == "webp":
        options["lossless"] = "lossless" in traits
    if format == "avif":
        options["max_threads"] = 1  # with more, where its first row ends hangs on how many CPUs there are
    if format in ("tga", "tiff") and "packed" in traits:
        options["compression"] = {"tga": "tga_rle", "tiff": "tiff_lzw"}[format]
    return encoded(image, format, **options)


def interlaced(pixels: np.ndarray) -> bytes:
    """A PNG in Adam7's seven passes, which Pillow does not write."""
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [b"\0" + row.tobytes() for y, x, down, right in passes for row in pixels[y::down, x::right]]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def opened(content: bytes) -> Image.Image:
    with TemporaryDirectory() as folder:
        (Path(folder) / "picture").write_bytes(content)
        return open_image(Path(folder) / "picture")


def share(content: bytes) -> float:
    return opened(content).info.get("cut_off", 1.0)


def part(name: str, of: float) -> bytes:
    return whole(name)[: round(len(whole(name)) * of)]


JPEGS = (
    "jpeg", "jpeg L", "jpeg CMYK", "jpeg restarts", "jpeg optimized", "jpeg thumbnail", "jpeg progressive"
)  # fmt: skip
BY_ROWS = (
    "png", "png L", "png P", "png RGBA", "png I;16", "gif", "bmp", "ppm", "tga", "tga packed", "pcx", "dds", "im",
    "dib", "qoi", "tiff"
)  # fmt: skip
SHOWN = (
    *JPEGS, *BY_ROWS, "png interlaced", "gif interlaced", "png LA", "tiff I;16", "webp", "webp lossless", "avif",
    "msp 1", "xbm 1"
)  # fmt: skip
NOT_SHOWN = ("sgi", "ico", "jpeg2000", "tiff packed")


@pytest.mark.parametrize("name", SHOWN)
def test_a_cut_off_picture_is_shown_and_says_how_much_of_it_is_there(name: str) -> None:
    image, half = opened(whole(name)), opened(part(name, 0.5))
    assert "cut_off" not in image.info
    assert half.size == image.size
    assert 0.2 < half.info["cut_off"] < 0.8
    first, second = np.asarray(image, dtype=float), np.asarray(half, dtype=float)
    same = (np.abs(first - second).max(axis=2) < 40).mean()  # a lossy format filters what lies beside the cut
    assert same > half.info["cut_off"] - 0.1, "what is there is shown"
    if not {"progressive", "interlaced", "CMYK"} & set(name.split()):
        assert ((second == 128).all(axis=2)).mean() == approx(1 - half.info["cut_off"], abs=0.1), "the rest is gray"


@pytest.mark.parametrize("name", [*JPEGS[:-1], *BY_ROWS, "webp", "webp lossless", "avif"])
def test_the_share_follows_the_rows(name: str) -> None:
    for of in (0.25, 0.5, 0.75, 0.9):
        seen = opened(part(name, of))
        there = np.asarray(seen) == np.asarray(opened(whole(name)))
        rows = there.all(axis=(1, 2)).mean()
        assert rows - 0.01 <= seen.info["cut_off"] <= rows + 0.28, of  # AVIF's and WebP's blocks are filtered over


@pytest.mark.parametrize("name", [*SHOWN, "mpo", "png moving", "gif moving", "webp moving"])
def test_a_whole_picture_is_not_called_cut_off(name: str) -> None:
    for behind in (b"", b"\0" * 5000, b"something else"):
        if not (behind and name in ("tga", "tga packed", "qoi", "avif")):
            assert share(whole(name) + behind) == 1, behind


@pytest.mark.parametrize("name", NOT_SHOWN)
def test_what_can_not_be_shown_in_part_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"can't be read as a picture|is not a picture that can be read"):
        opened(part(name, 0.5))


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_lacks_only_its_end_is_whole(name: str) -> None:
    assert whole(name).endswith(JPEG_END)
    for lacking in (1, 2):
        assert share(whole(name)[:-lacking]) == 1
    assert share(whole(name)[:-2] + b"\0" * 4096) == 1
    assert 0.98 < share(whole(name)[:-60]) < 1


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("of", [0.3, 0.6, 0.95])
def test_an_end_that_was_put_behind_a_part_does_not_hide_it(name: str, of: float) -> None:
    assert share(part(name, of) + JPEG_END) == approx(share(part(name, of)), abs=0.01)
    assert share(part(name, of) + JPEG_END) < 1


@pytest.mark.parametrize("name", [*JPEGS, "png", "gif", "webp", "webp lossless", "avif"])
@pytest.mark.parametrize("of", [0.3, 0.8])
def test_zeros_in_place_of_the_rest_are_not_taken_for_it(name: str, of: float) -> None:
    zeros = bytes(len(whole(name)) - len(part(name, of)))
    assert share(part(name, of) + zeros) == approx(share(part(name, of)), abs=0.03)


@pytest.mark.parametrize("name", JPEGS)
def test_a_hole_in_the_middle_of_a_jpeg_is_found(name: str) -> None:
    content = whole(name)
    begin = len(content) // 2
    holed = content[:begin] + bytes(2048) + content[begin + 2048 :]
    assert share(holed) == approx(share(content[:begin]), abs=0.02)


def test_a_hole_in_the_middle_of_a_png_is_found() -> None:
    content, begin = whole("png"), len(whole("png")) // 2
    assert share(content[:begin] + bytes(2048) + content[begin + 2048 :]) == approx(share(content[:begin]), abs=0.02)
    stored = encoded(Image.new("L", (300, 300)), "png", compress_level=0)
    assert bytes(512) in stored
    assert share(stored) == share(stored + bytes(5000)) == 1


def test_a_cut_between_two_restarts_is_found() -> None:
    content = encoded(photo(), "jpeg", restart_marker_blocks=5)
    markers = [found.start() for found in re.finditer(b"\xff[\xd0-\xd7]", content)]
    for number in range(20, 40):
        for end in range(markers[number], markers[number] + 3):
            assert share(content[:end]) == approx(5 * (number + 1) / 300, abs=0.05), "of 300 units, five at a time"
            assert share(content[:end] + JPEG_END) == share(content[:end])


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.sampled_from([0, 128, 255, None]),
    st.fixed_dictionaries(
        {
            "quality": st.integers(1, 100),
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "restart_marker_blocks": st.integers(0, 40),
        }
    ),
)
def test_no_whole_jpeg_is_called_cut_off(
    size: tuple[int, int], mode: str, bottom: int | None, options: dict[str, int]
) -> None:
    image = photo(mode, size)
    if bottom is not None:
        image.paste((bottom,) * len(image.getbands()), (0, size[1] // 2, *size))
    content = encoded(image, "jpeg", **options)
    for file in (content, content[:-2], content + bytes(3000)):
        assert share(file) == 1


def test_zeros_that_are_a_pictures_own_are_no_hole() -> None:
    for traits in ("jpeg drawn optimized", "jpeg drawn", "jpeg drawn optimized progressive"):
        assert share(whole(traits)) == 1
    plain = Image.new("RGB", (265, 211), (10, 200, 90))
    for subsampling in (0, 1, 2):  # of which some passes hold nothing but zeros
        assert share(encoded(plain, "jpeg", quality=97, progressive=True, subsampling=subsampling)) == 1
    assert b"\0" * 64 in whole("jpeg drawn optimized")
    holed = bytearray(whole("jpeg drawn optimized"))
    holed[1500:2500] = bytes(1000)
    assert share(bytes(holed)) < 0.5


def test_a_second_picture_that_is_cut_off_does_not_matter() -> None:
    first = whole("mpo").index(JPEG_END, len(whole("mpo")) // 3) + 2
    assert share(whole("mpo")[: first + 1000]) == 1
    assert share(whole("mpo")[: first // 2]) < 0.7
    for name in ("png moving", "gif moving", "webp moving"):
        assert share(part(name, 0.75)) == 1
        assert share(part(name, 0.25)) < 1


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_picture() -> None:
    assert JPEG_END in whole("jpeg thumbnail")[:-2]
    assert share(part("jpeg thumbnail", 0.5)) < 0.6


def test_passes_of_a_progressive_jpeg_count_by_what_they_bring() -> None:
    content = whole("jpeg progressive")
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    shares = [share(content[:end]) for end in [*scans[1:], len(content)]]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.05, "an eighth of width and height"
    assert shares[-1] == 1


def test_a_cut_off_picture_is_turned_as_a_whole_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for format in ("jpeg", "tiff"):
        content = encoded(photo(), format, exif=exif)
        assert opened(content[: len(content) // 2]).size == (240, 320)
        seen = np.asarray(opened(content[: len(content) // 2]))
        gray = (seen == 128).all(axis=2)
        assert gray[:, :80].all() and not gray[:, 200:].any(), "rows become columns, from the right to the left"


def test_a_file_from_the_bottom_up_lacks_its_top() -> None:
    seen = opened(part("bmp", 0.5))
    assert seen.getpixel((10, 10)) == GRAY
    assert seen.getpixel((10, 230)) != GRAY


def test_around_the_frame_of_a_gif_nothing_is_missing() -> None:
    frame = Image.new("P", (200, 200), 0)
    frame.putpalette([*RED, *BLUE])
    frame.paste(photo("L").resize((100, 200)).point(lambda value: value % 2), (100, 0))
    content = bytearray(encoded(frame.crop((100, 0, 200, 200)), "gif", transparency=0, optimize=False))
    content[6:10] = struct.pack("<HH", 200, 200)  # the screen is wider than its frame
    half = opened(bytes(content[: len(content) // 2]))
    assert half.size == (200, 200)
    assert (np.asarray(half)[:, 110:] == 255).all()
    assert half.info["cut_off"] == approx(0.75, abs=0.06)


def test_a_program_that_lets_pillow_pass_over_it_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: share(part(name, 0.5)) for name in ("jpeg", "png", "gif", "bmp")}
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert {name: share(part(name, 0.5)) for name in before} == before
    assert share(whole("png")) == 1


def test_pillows_switch_stays_as_it_is() -> None:
    opened(part("png", 0.5))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_more_than_a_sliver_may_not_be_missing_of_what_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(whole("jpeg")[:-12])
    assert open_whole(path).size == (320, 240)
    path.write_bytes(part("jpeg", 0.5))
    with pytest.raises(InputError, match=r"photo\.jpg is cut off, and \d+(\.\d)? % of it is there: fetch it again"):
        open_whole(path)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*SHOWN, *NOT_SHOWN, "mpo", "png moving", "gif moving", "webp moving", "jpeg drawn optimized"]),
       st.floats(0, 1), st.floats(0, 1))  # fmt: skip
def test_wherever_a_file_is_cut_off(name: str, one: float, other: float) -> None:
    shares = []
    for of in sorted((one, other)):
        try:
            seen = opened(part(name, of))
        except InputError:
            shares.append(0.0)
        else:
            assert (seen.mode, 0 < seen.info.get("cut_off", 1.0) <= 1) == ("RGB", True)
            shares.append(seen.info.get("cut_off", 1.0))
    assert shares[0] <= shares[1] + 0.03
