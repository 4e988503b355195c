"""Where an archive lies: folders of this machine, and stores such as S3 by addresses such as s3://bucket/folder."""

import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from pyarrow import fs

from ..command_line import InputError, brief

# Where stores of S3's protocol other than Amazon's are, as Amazon's own tools read it.
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def is_remote(address: str) -> bool:
    """Whether an address names a store, and not a path of this machine."""
    return "://" in address


def absolute(address: str, folder: str = "") -> str:
    """An address that means the same wherever it is read. A relative one lies in a folder, by default the working
    directory."""
    if is_remote(address):
        return address
    if is_remote(folder) and not address.startswith("/"):
        return f"{folder}/{address}"
    return os.path.abspath(Path(folder, address))


def parent(address: str) -> str:
    """The folder in which a file lies."""
    return address.rpartition("/")[0]


def locate(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address, and the path that it means there.

    Raises InputError if no such store is known here, or its settings can't be used.
    """
    if not is_remote(address):
        return fs.LocalFileSystem(), os.path.abspath(address)
    scheme, _, path = address.partition("://")
    return _open_store(scheme, path.partition("/")[0]), path


@lru_cache(maxsize=16)
def _open_store(scheme: str, bucket: str) -> fs.FileSystem:
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    try:
        if scheme == "s3" and endpoint:
            parts = urlsplit(endpoint if is_remote(endpoint) else f"https://{endpoint}")
            return fs.S3FileSystem(endpoint_override=parts.netloc, scheme=parts.scheme, allow_bucket_creation=False)
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"{scheme}://{bucket} can't be reached ({brief(error)}): correct the address, or the store's settings"
        ) from None
