"""Captions in one file, a row for each picture: JSON lines, CSV or Parquet."""

import csv
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from ..command_line import InputError, brief, explain
from .files import read_whole, replace

LARGEST = 512 * 1024**2  # bytes; some million captions
SAVED_EVERY = 60  # seconds
# What a spreadsheet takes for the beginning of a formula, in a picture's name for instance.
FORMULA = re.compile(r"'*[=+\-@\t\r]")


class Row(BaseModel):
    """A picture's caption. What there is none of, such as a rank without beams, is None; see `Caption` for scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    caption: str
    score: float
    beam_score: float | None = None
    cut_off: float | None = None  # the share of the picture that its file holds, if that is not all

    def as_json(self, *, ascii_only: bool = False) -> str:
        """In one line, without what there is none of."""
        return json.dumps(self.model_dump(exclude_none=True), ensure_ascii=ascii_only)


def name_of(picture: Path) -> str:
    r"""A path as text: a byte that is not UTF-8 as `\xff`, for JSON can't hold it."""
    return os.fsencode(picture).decode("utf-8", "backslashreplace")


class Table:
    """A file of captions that is whole at any time: saved every minute, and where its `with` block ends."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        """Raises InputError if the file can't be written, or if the rows of one that is there, which are kept if so
        asked, can't be read."""
        self.path, self.form = path, _form(path)
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise InputError(f"{path} can't be written: make its folder or correct its permissions, or name another")
        self.rows = _read(path, self.form) if keep else {}
        self.changed, self.saved = False, time.monotonic()

    def has(self, picture: Path) -> bool:
        """Whether a picture has a row."""
        return name_of(picture) in self.rows

    def add(self, row: Row) -> None:
        """Takes in a picture's row, in place of the one that it has."""
        self.rows[row.image] = row
        self.changed = True
        if time.monotonic() - self.saved > SAVED_EVERY:
            self.save()

    def save(self) -> None:
        """Writes all rows, if some came. Raises InputError if the system forbids it."""
        if self.changed:
            replace(self.path, self.form.write(self.rows.values()))
        self.changed, self.saved = False, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()


class Form(NamedTuple):
    """How rows lie in a file: what makes its bytes, and what reads rows out of them, not yet checked."""

    write: Callable[[Iterable[Row]], bytes]
    read: Callable[[bytes], Iterable[Any]]


def _form(path: Path) -> Form:
    forms = {".jsonl": Form(_as_jsonl, _from_jsonl), ".csv": Form(_as_csv, _from_csv)}
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401  (here, as few need it)
        except ImportError as error:
            raise InputError(
                f"{path} needs pyarrow, which can't be imported here ({brief(error)}): install blip-on-cpu with its "
                "extra [parquet], or name a file that ends in .jsonl or .csv"
            ) from None
        return Form(_as_parquet, _from_parquet)
    if path.suffix not in forms:
        raise InputError(f"{path} is no name for captions: end it in .jsonl, .csv or .parquet")
    return forms[path.suffix]


def _read(path: Path, form: Form) -> dict[str, Row]:
    content = read_whole(path, LARGEST)
    try:
        rows = [] if content is None else [Row.model_validate(row) for row in form.read(content)]
    except (ValueError, OSError, NotImplementedError, csv.Error) as error:  # the middle two are pyarrow's
        reason = explain(error) if isinstance(error, ValidationError) else brief(error)
        raise InputError(f"{path} holds other rows than captions ({reason}): name another file") from None
    return {row.image: row for row in rows}


def _as_jsonl(rows: Iterable[Row]) -> bytes:
    return "".join(f"{row.as_json()}\n" for row in rows).encode()


def _from_jsonl(content: bytes) -> Iterable[Any]:
    return [from_json(line) for line in content.split(b"\n") if line.strip()]


def _as_csv(rows: Iterable[Row]) -> bytes:
    """Texts in quotes, so that any sign may be in them, and what would be a formula behind an apostrophe."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(Row.model_fields)
    for row in rows:
        writer.writerow("'" + own if isinstance(own, str) and FORMULA.match(own) else own for _, own in row)
    return stream.getvalue().encode()


def _from_csv(content: bytes) -> Iterable[Any]:
    heading, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    for row in rows:
        cells = zip(heading, map(_without_apostrophe, row), strict=True)
        yield {key: own for key, own in cells if own or key in ("image", "caption")}


def _without_apostrophe(text: str) -> str:
    return text[1:] if text.startswith("'") and FORMULA.match(text[1:]) else text


def _as_parquet(rows: Iterable[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    types = {"image": text, "caption": text, "score": number, "beam_score": number, "cut_off": number}
    table = pyarrow.Table.from_pylist([row.model_dump() for row in rows], schema=pyarrow.schema(types))
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


def _from_parquet(content: bytes) -> Iterable[Any]:
    import pyarrow.parquet

    rows: list[Any] = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    return rows
