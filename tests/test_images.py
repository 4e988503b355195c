import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stages.command_line import InputError
from stages.images import open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


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


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    side = 15_000  # 225 million pixels, in a file of a few dozen kilobytes
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="million pixels"):
        open_image(tmp_path / "bomb.png")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.jpg is not a picture"):
        open_image(text)
    with pytest.raises(InputError, match="does not exist"):
        open_image(tmp_path / "absent.jpg")


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(stream, "png")
    path = tmp_path / "half.png"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(InputError, match=r"half\.png can't be read"):
        open_image(path)
