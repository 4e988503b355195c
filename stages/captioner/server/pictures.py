"""Pictures as requests hold them: text to bytes to a picture, bounded in both, and nothing fetched from anywhere."""

import base64
import math
import re
from tempfile import NamedTemporaryFile

from PIL import Image

from ..command_line import InputError
from ..images import open_image

MOST_PIXELS = 64_000_000  # which take 200 MB while a picture is opened
# Pixels of a picture that waits; larger ones are averaged to fewer, still ten times as many as any captioner looks at.
LARGE = 16_000_000
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
HOW_TO_SEND = "send the picture itself, as data:image/jpeg;base64,…"


def limit_pixels() -> None:
    """Sets Pillow's limit, which is the whole process's, to the pixels that a picture of a request may have."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow warns above it and refuses above its double


def picture_bytes(text: str) -> bytes:
    """The bytes in a data URL or in bare base64. Raises InputError if there are none, as in any other URL."""
    if SCHEME.match(text):
        head, _, text = text.partition(",")
        if not head.lower().startswith("data:"):
            raise InputError(f"no URL is fetched here: {HOW_TO_SEND}")
        if not head.lower().endswith(";base64"):
            raise InputError(f"a data URL's picture must be in base64: {HOW_TO_SEND}")
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except ValueError:
        raise InputError(f"a picture is not in base64: {HOW_TO_SEND}") from None


def open_picture(content: bytes) -> Image.Image:
    """The picture in a file's bytes, as `open_image` gives it, and with at most LARGE pixels.

    Raises InputError if it can't be opened or has more than MOST_PIXELS.
    """
    with NamedTemporaryFile(prefix="blip-on-cpu-") as file:
        file.write(content)
        file.flush()
        try:
            image = open_image(file.name)
        except InputError as error:
            raise InputError(str(error).replace(file.name, "the picture")) from None
    factor = math.ceil(math.sqrt(image.width * image.height / LARGE))
    return image.reduce(factor) if factor > 1 else image
