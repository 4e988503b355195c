"""Pictures that are rows of Parquet files: their bytes, read in order."""

from collections.abc import Iterator

import pyarrow as pa
from pyarrow import parquet

from ..command_line import InputError
from .pictures import Picture
from .storage import locate

ROWS_AT_ONCE = 16  # of whose bytes memory is held
READ_AHEAD = 1024**2  # bytes


def leaf(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The values of a column, or of a field in it as in `image.bytes`."""
    if name in batch.schema.names:  # which may have dots of its own
        return batch.column(name)
    first, *fields = name.split(".")
    values = batch.column(first)
    for field in fields:
        values = values.field(field)
    return values


class RowReader:
    """Reads the bytes of rows. It goes on from the last one where it can, as a row group can't be entered halfway."""

    def __init__(self) -> None:
        self._place: tuple[str, str | None] | None = None
        self._file: parquet.ParquetFile | None = None
        self._batches: Iterator[tuple[int, pa.Array]] = iter(())
        self._first, self._values, self._end = 0, pa.array([], pa.binary()), 0

    def read(self, picture: Picture) -> bytes:
        """The bytes of a row. Raises InputError if it has none, OSError if the file can't be read."""
        row = picture.offset or 0
        if self._place != (picture.path, picture.member) or not self._first <= row < self._end:
            self._enter(picture, row)
        while row >= self._first + len(self._values):
            self._first, self._values = next(self._batches)
        value = self._values[row - self._first].as_py()
        if not value:
            raise InputError(f"{picture.name} has no bytes: replace it")
        return bytes(value)

    def _enter(self, picture: Picture, row: int) -> None:
        """Opens the row group that holds a row."""
        if self._file is None or self._place is None or self._place[0] != picture.path:
            store, path = locate(picture.path)
            self._file = parquet.ParquetFile(store.open_input_file(path), buffer_size=READ_AHEAD)
        self._place = (picture.path, picture.member)
        self._first = self._end = group = 0
        while row >= self._end:
            self._first, self._end = self._end, self._end + self._file.metadata.row_group(group).num_rows
            group += 1
        self._batches = self._read_group(self._file, group - 1, self._first, picture.member or "")
        self._values = self._values[:0]

    def _read_group(
        self, file: parquet.ParquetFile, group: int, first: int, column: str
    ) -> Iterator[tuple[int, pa.Array]]:
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column]):
            yield first, leaf(batch, column)
            first += batch.num_rows
