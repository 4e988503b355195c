"""Reads tables of captions: CSV and its kin, in the layouts in which captions are published and trainers keep them."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from stages.captioner.command_line import LONGEST_MESSAGE, InputError, brief, printable, shorten
from stages.captioner.images import SUFFIXES
from stages.pictures.rows import ADDRESS_KEYS, CAPTION_KEYS, PICTURE_KEYS, CaptionedPicture, captions_in, purpose_of

DELIMITERS = "\t|;,"
Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL or QUOTE_NONE
# In these, as in Flickr30k's, quotes may be a caption's own, which nobody has doubled.
MAYBE_UNQUOTED = "\t|"
FIRST_LINE = re.compile(r"[^\r\n]*[^\s][^\r\n]*")
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
NUMBERED = re.compile(r"(.+?)_?\d*")  # caption_1, caption_2, …
COUNT_OF_CAPTION = re.compile(r"#\d+$")  # 1000.jpg#0, as in Flickr8k.token.txt


class UnknownFormError(Exception):
    """What was read is no captions file; the message says what it is instead."""


@dataclass(frozen=True)
class _Layout:
    """Which fields of each line are what, and how many there are."""

    delimiter: str
    width: int
    picture: int
    captions: list[int]
    split: int | None = None
    has_header: bool = True


def read_table(path: Path, text: str) -> list[CaptionedPicture]:
    """The pictures of a table's lines, one or more for each; says how many lines it left out that lack something.

    Raises InputError if lines don't fit the header or name web addresses, UnknownFormError if it holds no captions.
    """
    first_line = FIRST_LINE.search(text)
    layout = _find_layout(path, first_line[0][:10_000] if first_line else "")
    try:
        return _pictures(path, text, layout, csv.QUOTE_MINIMAL)
    except csv.Error as error:
        if layout.delimiter in MAYBE_UNQUOTED:
            with suppress(csv.Error):
                return _pictures(path, text, layout, csv.QUOTE_NONE)
        raise InputError(f"{path} is not a valid table ({brief(error)}): close or double the quotes there") from None


def _find_layout(path: Path, first_line: str) -> _Layout:
    lines = {delimiter: _fields(first_line, delimiter) for delimiter in DELIMITERS}
    for find in (_layout_of_header, _layout_without_header):
        if layout := next(filter(None, (find(fields, delimiter) for delimiter, fields in lines.items())), None):
            return layout
    if any(_names_addresses(fields) for fields in lines.values()):
        raise InputError(
            f"{path} names web addresses and no files: save the pictures, with img2dataset for example, and name those"
        )
    raise UnknownFormError(f"its first line is «{shorten(printable(first_line), 80)}»")


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]


def _layout_of_header(fields: list[str], delimiter: str) -> _Layout | None:
    names = [re.sub(r"[\s-]+", "_", field.lower()) for field in fields]
    kinds = [NUMBERED.sub(r"\1", name) for name in names]
    picture = next((names.index(key) for key in PICTURE_KEYS if key in names), None)
    caption = next((key for key in CAPTION_KEYS if key in kinds), None)
    if picture is None or caption is None:
        return None
    captions = [place for place, kind in enumerate(kinds) if kind == caption]
    return _Layout(delimiter, len(fields), picture, captions, names.index("split") if "split" in names else None)


def _layout_without_header(fields: list[str], delimiter: str) -> _Layout | None:
    if len(fields) >= 2 and Path(COUNT_OF_CAPTION.sub("", fields[0])).suffix.lower() in SUFFIXES:
        return _Layout(delimiter, width=2, picture=0, captions=[1], has_header=False)
    return None


def _names_addresses(fields: list[str]) -> bool:
    return len(fields) > 1 and any(field.lower() in ADDRESS_KEYS or ADDRESS.match(field) for field in fields)


def _pictures(path: Path, text: str, layout: _Layout, quoting: Quoting) -> list[CaptionedPicture]:
    pictures: list[CaptionedPicture] = []
    lacking: list[int] = []
    for line, fields in _lines(text, layout, quoting):
        row = _joined(path, line, fields, layout)
        name = COUNT_OF_CAPTION.sub("", row[layout.picture]) if layout.picture < len(row) else ""
        captions = [text for place in layout.captions if place < len(row) for text in _captions_of(row[place])]
        if name and captions:
            split = row[layout.split] if layout.split is not None and layout.split < len(row) else None
            pictures.append(CaptionedPicture(name, captions, purpose_of(split)))
        else:
            lacking.append(line)
    if lacking:
        left_out = f"left out {len(lacking)} rows of {path} that lack a picture or a caption, line {lacking[0]} first"
        print(shorten(printable(left_out), LONGEST_MESSAGE))
    return pictures


def _lines(text: str, layout: _Layout, quoting: Quoting) -> Iterator[tuple[int, list[str]]]:
    """The lines that are neither empty nor the header, with their number. Raises csv.Error that names the line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter, quoting=quoting, strict=True)
    header = layout.has_header
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields) and not header:
                yield reader.line_num, fields
            header = header and not any(fields)
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None


def _joined(path: Path, line: int, fields: list[str], layout: _Layout) -> list[str]:
    """A line's fields, where the last is a caption with the delimiters that somebody left unquoted in it."""
    if len(fields) <= layout.width:
        return fields
    last = layout.width - 1
    if layout.captions == [last]:
        return [*fields[:last], f"{layout.delimiter} ".join(fields[last:])]
    if not any(fields[layout.width :]):
        return fields
    raise InputError(
        f"{path}, line {line}: it has {len(fields)} fields and the header {layout.width}: put captions that contain "
        f"{layout.delimiter!r} in quotes"
    )


def _captions_of(field: str) -> list[str]:
    """A field's caption, or several, as Flickr30k's raw has them: a list in JSON."""
    if field.startswith("["):
        with suppress(msgspec.DecodeError):
            return captions_in(msgspec.json.decode(field, type=list[str]))
    return captions_in(field)
