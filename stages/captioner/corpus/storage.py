"""Where an archive lies: folders of this machine, and stores such as S3 by addresses such as s3://bucket/folder."""

import os
from functools import lru_cache
from pathlib import Path

import fsspec
from pyarrow import fs

from ..command_line import InputError, brief


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
    return _open_store(scheme), path


@lru_cache(maxsize=16)
def _open_store(scheme: str) -> fs.FileSystem:
    """A store in fsspec's way: pyarrow's own puts what stands for a folder beside files, which not all let it do."""
    try:
        store = fsspec.filesystem(scheme, use_listings_cache=False)  # others write there, too
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{scheme}:// can't be reached ({brief(error)}): correct the address") from None
    return fs.PyFileSystem(fs.FSSpecHandler(store))
