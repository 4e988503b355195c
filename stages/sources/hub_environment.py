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


def without_password(address: str) -> str:
    """The beginning of an address, of which only what follows a user's name and password is shown."""
    return address.rpartition("@")[2][:100]


if name := wrong_setting():
    sys.exit(f"error: {name} is {without_password(os.environ[name])!r}, which can't be: correct it or unset it")
