"""The manifest of an archive: all its pictures, numbered once. Who stops and goes on counts by the same numbers."""

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import fs, parquet

from ..command_line import InputError, brief, printable
from .pictures import Picture
from .storage import is_remote, locate

MANIFEST = "manifest.parquet"
# Paths are bytes, as Linux's are. A row group is what a worker reads to find some of its pictures.
SCHEMA = pa.schema({"path": pa.binary(), "member": pa.string(), "offset": pa.int64(), "size": pa.int64()})
ROWS_IN_GROUP = 65536
SOURCE, COLUMN = b"source", b"column"


def write_manifest(address: str, source: str, column: str | None, pictures: Iterable[Picture]) -> int:
    """Numbers pictures from 0 and writes them down, whole or not at all. Returns how many there are.

    Raises InputError if there are none, or the file can't be written.
    """
    store, path = locate(address)
    unfinished = f"{path}.unfinished"
    schema = SCHEMA.with_metadata(_metadata(source, column))
    numbered = iter(pictures)
    count = 0
    try:
        if not is_remote(address):  # stores have no folders, and to make what stands for one may not be allowed
            store.create_dir(os.path.dirname(path), recursive=True)
        with parquet.ParquetWriter(unfinished, schema, filesystem=store, compression="zstd") as writer:
            while rows := list(itertools.islice(numbered, ROWS_IN_GROUP)):
                writer.write_table(_table(rows, schema), row_group_size=ROWS_IN_GROUP)
                count += len(rows)
        if not count:
            store.delete_file(unfinished)
            raise InputError(f"there are no pictures in {printable(source)}: name an archive that holds some")
        store.move(unfinished, path)
    except OSError as error:
        raise InputError(f"{address} can't be written ({brief(error)}): name another output") from None
    return count


def _metadata(source: str, column: str | None) -> dict[bytes, bytes]:
    return {SOURCE: os.fsencode(source), COLUMN: os.fsencode(column or "")}


def _table(rows: Sequence[Picture], schema: pa.Schema) -> pa.Table:
    paths, members, offsets, sizes = zip(*rows, strict=True)
    members = tuple(member and member.encode("utf-8", "backslashreplace").decode() for member in members)
    return pa.table([list(map(os.fsencode, paths)), members, offsets, sizes], schema=schema)


def count_pictures(address: str, source: str, column: str | None) -> int | None:
    """How many pictures a manifest has; None if it has not been written yet.

    Raises InputError if it is another archive's, or can't be read.
    """
    store, path = locate(address)
    if store.get_file_info(path).type == fs.FileType.NotFound:
        return None
    try:
        metadata = parquet.read_metadata(path, filesystem=store)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{address} can't be read ({brief(error)}): name another output") from None
    kept = metadata.metadata or {}
    if {SOURCE: kept.get(SOURCE), COLUMN: kept.get(COLUMN)} != _metadata(source, column):
        raise InputError(
            f"{Path(address).parents[1]} holds captions of {os.fsdecode(kept.get(SOURCE, b'another archive'))}: name "
            "another output"
        )
    return int(metadata.num_rows)


class ManifestReader:
    """Finds pictures by their numbers, without all of them in memory."""

    def __init__(self, address: str) -> None:
        store, path = locate(address)
        self._file = parquet.ParquetFile(store.open_input_file(path))
        self._group, self._table = -1, SCHEMA.empty_table()

    def read(self, numbers: Sequence[int]) -> list[Picture]:
        """Pictures by their numbers, quickest in order."""
        return [self._read_one(number) for number in numbers]

    def _read_one(self, number: int) -> Picture:
        group, row = divmod(number, ROWS_IN_GROUP)
        if group != self._group:
            self._group, self._table = group, self._file.read_row_group(group)
        path, *others = (column[row].as_py() for column in self._table.columns)
        return Picture(os.fsdecode(path), *others)
