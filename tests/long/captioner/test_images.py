"""Pictures damaged at random, of every format."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.captioner.command_line import InputError
from stages.captioner.images import open_image
from tests.captioner.test_images import SIGNED_RESOLUTION, TURNED, encoded, exif, linear_gray_profile, two_colors

VALID = {
    "jpeg": encoded(Image.effect_noise((40, 30), 60).convert("RGB"), "jpeg", exif=exif(TURNED, SIGNED_RESOLUTION)),
    "mpo": encoded(two_colors(), "mpo", save_all=True, append_images=[two_colors()]),
    "png": encoded(two_colors(), "png", icc_profile=linear_gray_profile(), exif=exif(TURNED)),
    "palette png": encoded(two_colors().convert("P"), "png", transparency=0),
    "gif": encoded(two_colors(), "gif", save_all=True, append_images=[Image.new("RGB", (20, 10))]),
    "webp": encoded(two_colors().convert("RGBA"), "webp"),
    "tiff": encoded(two_colors(), "tiff", compression="tiff_lzw", tiffinfo={0x0112: 6}),
    "plain tiff": encoded(two_colors(), "tiff"),
    "bmp": encoded(two_colors(), "bmp"),
    "ico": encoded(two_colors(), "ico"),
    "avif": encoded(two_colors(), "avif"),
}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_damaged_files_are_opened_or_named_and_nothing_else_happens(name: str, data: st.DataObject) -> None:
    content = bytearray(VALID[name])
    places = st.integers(0, min(len(content), data.draw(st.sampled_from([64, len(content)]))) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[place] = value
    end = data.draw(st.one_of(st.just(len(content)), places))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "damaged"
        path.write_bytes(content[:end])
        with contextlib.suppress(InputError):
            assert open_image(path).mode == "RGB"
