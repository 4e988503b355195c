import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from stages.captioner.command_line import InputError
from stages.captioner.images import SUFFIXES, allow_large_pictures, open_image, to_rgb
from tests.conftest import PROJECT

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limits as commands set them."""
    for owner, name in (
        (Image, "MAX_IMAGE_PIXELS"),
        (PngImagePlugin, "MAX_TEXT_CHUNK"),
        (PngImagePlugin, "MAX_TEXT_MEMORY"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it is put back
    allow_large_pictures()


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def saved(image: Image.Image, path: Path, **options: object) -> Image.Image:
    image.save(path, **options)
    opened = open_image(path)
    assert opened.mode == "RGB"
    return opened


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), RED)
    image.paste(BLUE, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    opened = saved(image, tmp_path / "turned.png", exif=exif)
    assert opened.size == (10, 20)
    assert (opened.getpixel((5, 2)), opened.getpixel((5, 17))) == (BLUE, RED)


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 255, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    opened = saved(image, tmp_path / "alpha.png")
    assert opened.getpixel((0, 0)) == BLUE
    assert opened.getpixel((3, 3)) == WHITE
    assert opened.getpixel((1, 0)) == pytest.approx((127, 127, 127), abs=1)


def test_a_transparent_palette_is_put_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*GREEN, *RED])
    image.putpixel((1, 0), 1)
    opened = saved(image, tmp_path / "palette.png", transparency=0)
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 0))) == (WHITE, RED)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_keeps_its_brightness(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    opened = saved(Image.fromarray(values), tmp_path / f"deep.{suffix}")
    assert [opened.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_dark_sixteen_bit_gray_stays_dark(tmp_path: Path) -> None:
    opened = saved(Image.fromarray(np.full((2, 2), 200, dtype=np.uint16)), tmp_path / "dark.png")
    assert opened.getpixel((0, 0)) == (1, 1, 1)


def test_floats_are_stretched_over_their_range(tmp_path: Path) -> None:
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    opened = saved(Image.fromarray(values), tmp_path / "floats.tif")
    assert [opened.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "YCbCr", "LAB"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (8, 8), WHITE)
    if mode == "LAB":
        converted = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        converted = image.convert(mode)
    suffix = "png" if mode in ("L", "LA", "1") else "tif" if mode == "LAB" else "jpg"
    opened = saved(converted, tmp_path / f"picture.{suffix}")
    assert opened.getpixel((4, 4)) == pytest.approx(WHITE, abs=3)


def test_a_color_profile_is_applied(tmp_path: Path) -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (4, 4), (10, 200, 100))
    assert saved(image, tmp_path / "profile.png", icc_profile=lab_like).getpixel((1, 1)) == pytest.approx(
        (10, 200, 100), abs=1
    )
    assert saved(image, tmp_path / "broken.png", icc_profile=b"nonsense").getpixel((1, 1)) == (10, 200, 100)


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 6), color) for color in (RED, GREEN, BLUE)]
    opened = saved(frames[0], tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert opened.getpixel((3, 3)) == RED


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A gigapixel, as far as its header goes."""
    png = encoded(Image.new("1", (8, 8)), "png")
    header = b"IHDR" + struct.pack(">II", 32_000, 32_000) + png[24:29]
    (tmp_path / "bomb.png").write_bytes(png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:])
    return tmp_path / "bomb.png"


@pytest.mark.usefixtures("large_pictures")
def test_a_decompression_bomb_is_refused(bomb: Path) -> None:
    with pytest.raises(InputError, match="more than 500 million pixels"):
        open_image(bomb)


def test_the_limits_of_a_program_around_are_kept(bomb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000_000)
    with pytest.raises(InputError, match="more than 100 million pixels"):
        open_image(bomb)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1000)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("history", "layer " * 1000, zip=True)
    two_colors().save(tmp_path / "edited.png", pnginfo=texts)
    with pytest.raises(InputError, match=r"edited\.png can't be read .*MAX_TEXT_CHUNK"):
        open_image(tmp_path / "edited.png")


@pytest.mark.parametrize(
    ("mode", "color", "suffix"), [("1", 1, "png"), ("RGB", RED, "jpg"), ("P", 1, "png"), ("I;16", 65535, "tif")]
)
def test_a_large_picture_is_shrunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, color: object, suffix: str
) -> None:
    monkeypatch.setattr("stages.captioner.images.LARGE", 10_000)
    image = Image.new(mode, (400, 200))
    if mode == "P":
        image.putpalette([*GREEN, *RED])
    image.paste(color, (0, 0, 200, 200))
    opened = saved(image, tmp_path / f"large.{suffix}")
    assert opened.width * opened.height <= 10_100 and abs(opened.width - 2 * opened.height) <= 1
    left, right = opened.getpixel((opened.width // 5, 20)), opened.getpixel((opened.width * 4 // 5, 20))
    expected = {"RGB": (RED, (0, 0, 0)), "P": (RED, GREEN)}.get(mode, (WHITE, (0, 0, 0)))
    assert (left, right) == (pytest.approx(expected[0], abs=2), pytest.approx(expected[1], abs=2))


@pytest.mark.usefixtures("large_pictures")
def test_200_million_pixels_are_opened(tmp_path: Path) -> None:
    Image.new("L", (16_320, 12_240), 200).save(tmp_path / "phone.jpg")  # what today's telephones take
    opened = open_image(tmp_path / "phone.jpg")
    assert opened.size == (8160, 6120)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.jpg is not a picture"):
        open_image(text)
    with pytest.raises(InputError, match="does not exist"):
        open_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("lacking", [1, 2, 10, 3000])
def test_a_jpeg_without_its_end_is_opened_as_far_as_it_goes(tmp_path: Path, progressive: bool, lacking: int) -> None:
    stream = io.BytesIO()
    Image.effect_noise((96, 96), 90).convert("RGB").save(stream, "jpeg", progressive=progressive)
    (tmp_path / "whole.jpg").write_bytes(stream.getvalue())
    (tmp_path / "cut.jpg").write_bytes(stream.getvalue()[:-lacking])
    whole, cut = (np.asarray(open_image(tmp_path / name)) for name in ("whole.jpg", "cut.jpg"))
    assert np.array_equal(whole[:32], cut[:32]) or progressive
    assert whole.shape == cut.shape
    assert np.array_equal(whole, cut) == (lacking <= 2)


# What picture viewers show all the same


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF with the given tags, types, counts and values, which follow them; written by hand, as Pillow corrects it."""
    start = 8 + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, type_, count, value in entries:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(values))
        directory += struct.pack("<HHI", tag, type_, count) + place
        values += value if len(value) > 4 else b""
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + values


SIGNED_RESOLUTION = (0x011A, 10, 1, struct.pack("<ii", -72, 1))
TURNED = (0x0112, 3, 1, struct.pack("<H", 6))


def two_colors() -> Image.Image:
    image = Image.new("RGB", (20, 10), RED)
    image.paste(BLUE, (0, 0, 10, 10))
    return image


@pytest.mark.parametrize("format", ["jpeg", "webp", "png", "avif"])
def test_exif_that_can_not_be_written_back_turns_a_picture(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"turned.{format}"
    options = {"subsampling": 0} if format == "jpeg" else {"lossless": True} if format == "webp" else {}
    broken = exif(TURNED, SIGNED_RESOLUTION)
    if format in ("png", "avif"):
        broken = exif(TURNED)  # these encoders rewrite it
    path.write_bytes(encoded(two_colors(), format, exif=broken, **options))
    opened = open_image(path)
    assert opened.size == (10, 20)
    assert opened.getpixel((5, 2)) == pytest.approx(BLUE, abs=12)


def test_a_tiff_with_a_negative_resolution_is_turned_once(tmp_path: Path) -> None:
    content = encoded(two_colors(), "tiff", tiffinfo={0x0112: 6}, resolution=72)
    directory = struct.unpack("<I", content[4:8])[0]
    signed = bytearray(content)
    for entry in range(struct.unpack_from("<H", content, directory)[0]):
        place = directory + 2 + 12 * entry
        tag, type_ = struct.unpack_from("<HH", content, place)
        if tag == 0x011A and type_ == 5:
            struct.pack_into("<H", signed, place + 2, 10)
            struct.pack_into("<i", signed, struct.unpack_from("<I", content, place + 8)[0], -72)
    assert signed != content
    (tmp_path / "turned.tif").write_bytes(signed)
    opened = open_image(tmp_path / "turned.tif")
    assert (opened.size, opened.getpixel((5, 2)), opened.getpixel((5, 17))) == ((10, 20), BLUE, RED)


@pytest.mark.parametrize(
    "broken",
    [
        exif((0x0112, 3, 1, struct.pack("<H", 0))),
        exif((0x0112, 3, 1, struct.pack("<H", 9))),
        exif((0x0112, 2, 3, b"six")),
        exif((0x0112, 3, 60_000, b"far away")),
        exif((0x0112, 10, 1, struct.pack("<ii", 1, 0))),
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif((0x9286, 7, 60_000, b"x" * 60_000)),
    ],
)
def test_broken_exif_is_ignored(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(two_colors(), "jpeg", exif=broken))
    assert open_image(tmp_path / "photo.jpg").size == (20, 10)


@pytest.mark.usefixtures("large_pictures")
@pytest.mark.parametrize("compressed", [False, True])
def test_long_texts_in_a_png_are_no_hindrance(tmp_path: Path, compressed: bool) -> None:
    texts = PngImagePlugin.PngInfo()
    for part in range(4):
        texts.add_text(f"history {part}", "layer " * 500_000, zip=compressed)
        texts.add_itxt(f"history in Unicode {part}", "layer " * 500_000, zip=compressed)
    assert saved(two_colors(), tmp_path / "edited.png", pnginfo=texts).getpixel((1, 1)) == BLUE


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "jpeg", {"progressive": True}),
        ("CMYK", "jpeg", {}),
        ("CMYK", "tiff", {}),
        ("RGB", "tiff", {"compression": "tiff_lzw", "save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
        ("RGB", "mpo", {"save_all": True, "append_images": [Image.new("RGB", (20, 10))]}),
        ("RGB", "webp", {"save_all": True, "append_images": [Image.new("RGB", (20, 10))], "lossless": True}),
        ("RGB", "png", {"save_all": True, "append_images": [Image.new("RGB", (20, 10))]}),
        ("RGBA", "ico", {}),
        ("RGB", "jpeg2000", {}),
        ("RGB", "avif", {"quality": 100}),
        ("RGB", "tga", {}),
        ("RGB", "ppm", {}),
        ("RGB", "bmp", {}),
    ],
)
def test_what_viewers_show_is_opened(tmp_path: Path, mode: str, format: str, options: dict[str, object]) -> None:
    (tmp_path / "picture").write_bytes(encoded(two_colors().convert(mode), format, **options))
    opened = open_image(tmp_path / "picture")
    assert opened.mode == "RGB"
    size = opened.size
    assert opened.getpixel((size[0] // 4, size[1] // 2)) == pytest.approx(BLUE, abs=12)
    assert opened.getpixel((size[0] * 3 // 4, size[1] // 2)) == pytest.approx(RED, abs=12)


@pytest.mark.parametrize("kind", [2, 0])
def test_a_transparent_color_of_sixteen_bits_is_no_hindrance(tmp_path: Path, kind: int) -> None:
    colors = 3 if kind == 2 else 1

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pixels = b"\0" + struct.pack(">HH", 0x1234, 0)[:2] * colors + struct.pack(">H", 0) * colors
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(">H", 0x1234) * colors) + chunk(b"IDAT", zlib.compress(pixels))
    (tmp_path / "deep.png").write_bytes(content + chunk(b"IEND", b""))
    opened = open_image(tmp_path / "deep.png")
    assert opened.getpixel((1, 0)) == (0, 0, 0)


def swapped_profile() -> bytes:
    """sRGB with its red and green exchanged, so that whether it was applied is plain to see."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "transparent P"])
def test_a_color_profile_counts_in_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (4, 4), RED)
    if mode == "RGBA":
        image.putalpha(255)
        image.putpixel((0, 0), (0, 0, 0, 0))
    elif mode != "RGB":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([*BLUE, *RED])
        image.putpixel((0, 0), 0)
    options = {"transparency": 0} if mode == "transparent P" else {}
    opened = saved(image, tmp_path / "profile.png", icc_profile=swapped_profile(), **options)
    assert opened.getpixel((2, 2)) == pytest.approx(GREEN, abs=3)
    if mode in ("RGBA", "transparent P"):
        assert opened.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_gray_profile_counts_with_transparency_and_sixteen_bits(tmp_path: Path, mode: str) -> None:
    image = Image.new("L", (4, 4), 64)
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 64 * 257, dtype=np.uint16))
    opened = saved(image.convert(mode), tmp_path / "gray.png", icc_profile=linear_gray_profile())
    assert opened.getpixel((1, 1))[0] == pytest.approx(137, abs=2)  # sRGB's value for a quarter of the light


def linear_gray_profile() -> bytes:
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), b"kTRC", 176, len(curve))
    size = 176 + len(curve)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + white + curve


def test_a_profile_for_other_colors_is_ignored(tmp_path: Path) -> None:
    opened = saved(Image.new("RGB", (4, 4), RED), tmp_path / "wrong.png", icc_profile=linear_gray_profile())
    assert opened.getpixel((1, 1)) == RED


# Pictures in memory


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "I;16"])
def test_a_picture_in_memory_is_seen_as_in_its_file(tmp_path: Path, mode: str, format: str) -> None:
    image = two_colors().convert("L").convert(mode) if mode == "I;16" else two_colors().convert(mode)
    if mode == "RGBA":
        image.putpixel((0, 0), (0, 0, 255, 0))
    profile = swapped_profile() if mode in ("RGB", "RGBA", "P") else b""
    turned = {"tiffinfo": {0x0112: 6}, "compression": "tiff_lzw"} if format == "tiff" else {"exif": exif(TURNED)}
    try:
        image.save(tmp_path / "picture", format, icc_profile=profile, **turned)
    except OSError as error:
        pytest.skip(str(error))  # not every format has every mode
    with Image.open(tmp_path / "picture") as opened:
        before = opened.copy()
        seen = to_rgb(opened)
        assert (opened.mode, opened.info.keys()) == (before.mode, before.info.keys())
        assert opened.tobytes() == before.tobytes()
    assert (seen.mode, seen.size) == ("RGB", (10, 20))
    assert seen.tobytes() == open_image(tmp_path / "picture").tobytes()
    assert to_rgb(seen) is seen


def test_a_picture_in_memory_with_broken_exif_is_seen_as_it_lies() -> None:
    with Image.open(io.BytesIO(encoded(two_colors(), "jpeg", exif=b"Exif\0\0nonsense"))) as image:
        assert to_rgb(image).size == (20, 10)


# What is no picture


def test_what_is_no_file_is_named_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/zero")):
        with pytest.raises(InputError, match="is a folder, a pipe or a device"):
            open_image(path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match="is empty"):
        open_image(tmp_path / "empty.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    for path in (tmp_path / "gone.jpg", tmp_path / "round.jpg", tmp_path / ("x" * 300), tmp_path / "nul\0.jpg"):
        with pytest.raises(InputError):
            open_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encoded(two_colors(), "jpeg"))
    (tmp_path / "secret.jpg").chmod(0)
    with pytest.raises(InputError, match=r"secret\.jpg can't be read .*Permission denied"):
        open_image(tmp_path / "secret.jpg")


def test_heic_needs_its_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + b"\0" * 24)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"is HEIC: .* install pillow-heif"):
        open_image(path)


def test_heic_is_opened_where_its_plugin_is_installed(tmp_path: Path) -> None:
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image\n"
        "def register_heif_opener():\n"
        "    opener = lambda stream, name: Image.new('RGB', (3, 2), 'red')\n"
        "    Image.register_open('HEIF', opener, lambda head: head[4:12] == b'ftypheic')\n"
    )
    (tmp_path / "photo.jpg").write_bytes(struct.pack(">I", 24) + b"ftypheic" + b"\0" * 24)  # by content, not by name
    program = (
        "from pathlib import Path; from stages.captioner.images import open_image;"
        "print(open_image(Path('photo.jpg')).size)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(tmp_path)])}
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.stdout == "(3, 2)\n", process.stderr


def test_suffixes_are_those_of_the_pictures_that_pillow_decodes() -> None:
    Image.init()
    # Data of weather, experiments and telescopes, captions for newspapers, and what other programs have to draw.
    other = {"BUFR", "GRIB", "HDF5", "FITS", "IPTC", "MPEG", "EPS", "WMF", "HEIF"}
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN.keys() - other}
    assert known | {".heic", ".heif", ".hif"} == SUFFIXES
