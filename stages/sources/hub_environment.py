"""To be imported before huggingface_hub and transformers, which read the environment once, while they are imported."""

import os
import sys
from urllib.parse import urlsplit

NUMBERS = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")


def wrong_setting() -> str | None:
    """The name of a setting that the Hub's client couldn't even be imported with."""
    try:
        urlsplit(os.environ.get("HF_ENDPOINT", "")).port  # noqa: B018, looks at all of the address
    except ValueError:
        return "HF_ENDPOINT"
    return next((name for name in NUMBERS if not (os.environ.get(name) or "1").isdecimal()), None)


if name := wrong_setting():
    sys.exit(f"error: {name} is {os.environ[name][:100]!r}, which can't be: correct it or unset it")
