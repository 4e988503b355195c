"""Finds the pictures of an archive: a folder tree, a list, a glob, tars as WebDataset has them, Parquet files."""

import glob
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
from fsspec.utils import glob_translate
from pyarrow import fs, parquet

from ..command_line import InputError, brief, few, printable, read_text, refuse_pointer
from ..images import SUFFIXES, pictures_below
from .pictures import Picture
from .rows import leaf
from .storage import absolute, is_remote, locate, parent

TAR, PARQUET = ".tar", ".parquet"
WILDCARDS = re.compile(r"[*?\[]")
# What is no list either, though many an archive comes in it. Packed files can't be entered at a picture.
# fmt: off
OTHERS = frozenset({
    ".7z", ".arrow", ".bz2", ".csv", ".feather", ".gz", ".h5", ".json", ".jsonl", ".npz", ".rar", ".tgz", ".tsv", ".xz",
    ".zip", ".zst",
})
# fmt: on
# Columns of paths are called so where there are several of text.
PATH_COLUMNS = ("path", "file", "file_name", "filename", "image", "image_path", "url")


def find_pictures(source: str, column: str | None = None) -> Iterator[Picture]:
    """The pictures of an archive, in an order that stays. Of a `.tar` they are its members, of a `.parquet` its rows;
    `column` is the one that holds their bytes or paths, which may be left out where there is only one.

    A list is a text file of another name with a path or an address in each line; what is relative there, or in a column
    of paths, lies in the folder of the file that says so.

    Raises InputError if nothing is there, or it can't be listed or read.
    """
    try:
        for path in _find_files(source):
            yield from _pictures_in(path, column)
    except FileNotFoundError:
        raise InputError(f"there is nothing at {source}: check the name") from None
    except (OSError, pa.ArrowInvalid, tarfile.TarError) as error:
        raise InputError(f"the pictures of {source} can't be listed ({brief(error)}): put that right") from None


def _find_files(source: str) -> Iterator[str]:
    if WILDCARDS.search(source) and not os.path.lexists(source):
        return _matching(absolute(source))
    address = absolute(source)
    store, path = locate(address)
    kind = store.get_file_info(path).type
    if kind == fs.FileType.NotFound:
        raise FileNotFoundError
    if kind == fs.FileType.Directory:
        return _below(address)
    if _ending(address) in SUFFIXES | {TAR, PARQUET}:
        return iter([address])
    if _ending(address) in OTHERS:
        raise InputError(
            f"{printable(source)} is no archive that is known here, which are folders, tars, Parquet files, and lists "
            "with a path in each line: unpack it, or list its pictures in a .txt"
        )
    return _lines(address)


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _matching(pattern: str) -> Iterator[str]:
    if not is_remote(pattern):
        yield from sorted(path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))
        return
    matches = re.compile(glob_translate(pattern)).match
    base = parent(pattern[: WILDCARDS.search(pattern).start()])  # type: ignore[union-attr]
    yield from filter(matches, _listed(base))


def _below(folder: str) -> Iterator[str]:
    """Pictures, tars and Parquet files in a folder tree, but for what is hidden."""
    if is_remote(folder):
        wanted = SUFFIXES | {TAR, PARQUET}
        yield from (path for path in _listed(folder) if _ending(path) in wanted and not _is_hidden(path, folder))
        return
    patterns = [f"{glob.escape(folder)}/**/*{kind}" for kind in (TAR, PARQUET)]
    containers = [path for pattern in patterns for path in glob.iglob(pattern, recursive=True)]
    yield from sorted([*map(str, pictures_below(Path(folder))), *containers])


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(folder).split("/"))


def _listed(folder: str) -> list[str]:
    """All files below a store's folder, by name."""
    store, path = locate(folder)
    scheme = folder.partition("://")[0]
    found = store.get_file_info(fs.FileSelector(path, recursive=True))
    return sorted(f"{scheme}://{info.path}" for info in found if info.type == fs.FileType.File)


def _lines(address: str) -> Iterator[str]:
    if is_remote(address):
        store, path = locate(address)
        with store.open_input_stream(path) as stream:
            text = stream.readall().decode("utf-8", "surrogateescape")
    else:
        text = read_text(Path(address))
    for line in text.splitlines():
        if line.strip():
            yield _meant(line.strip(), parent(address))


def _meant(name: str, folder: str) -> str:
    """Where a name in a list or a column leads: to what is called so, else with slashes for Windows' backslashes."""
    address = absolute(name, folder)
    if "\\" not in name or is_remote(address) or os.path.lexists(address):
        return address
    return absolute(name.replace("\\", "/"), folder)


def _pictures_in(path: str, column: str | None) -> Iterator[Picture]:
    if _ending(path) not in (TAR, PARQUET):
        return iter([Picture(path)])
    if not is_remote(path):
        refuse_pointer(Path(path))
    return _members(path) if _ending(path) == TAR else _rows(path, column)


def _members(path: str) -> Iterator[Picture]:
    """The pictures of a tar, of which only the headers are read."""
    store, inner = locate(path)
    with store.open_input_file(inner) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.isfile() and _ending(member.name) in SUFFIXES:
                yield Picture(path, member.name, member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # or it would hold all headers in memory


def _rows(path: str, column: str | None) -> Iterator[Picture]:
    """The pictures of a Parquet file: rows of bytes, or what paths in it name."""
    store, inner = locate(path)
    with store.open_input_file(inner) as stream:
        file = parquet.ParquetFile(stream)
        name, is_bytes = _choose_column(file.schema, path, column)
        if is_bytes:
            yield from (Picture(path, name, row) for row in range(file.metadata.num_rows))
            return
        for batch in file.iter_batches(columns=[name]):
            for value in leaf(batch, name).to_pylist():
                yield Picture(_meant(value or "", parent(path)))


def _choose_column(schema: parquet.ParquetSchema, path: str, column: str | None) -> tuple[str, bool]:
    """The column with the pictures, and whether it holds bytes, else paths."""
    columns = [schema.column(number) for number in range(len(schema))]
    columns = [own for own in columns if own.max_repetition_level == 0]  # a list has several pictures in a row
    bytes_of = {own.path: own.logical_type.type == "NONE" for own in columns if own.physical_type == "BYTE_ARRAY"}
    if column is not None:
        found = [name for name in (column, f"{column}.bytes") if name in bytes_of]
    else:
        found = [name for name, is_bytes in bytes_of.items() if is_bytes]
        found = found or [name for name in PATH_COLUMNS if name in bytes_of][:1] or list(bytes_of)
    if (column is not None and not found) or len(found) != 1:
        there = few(bytes_of) if bytes_of else "no columns of text or bytes"
        raise InputError(
            f"{printable(path)} has {there}: name the column that holds the pictures' bytes or paths by --column"
        )
    return found[0], bytes_of[found[0]]
