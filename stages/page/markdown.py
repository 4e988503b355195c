"""Tables of figures in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.page.words import ENDS, number, words_of


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a cell for each heading in every row."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, ["---"] * len(headings), *rows))


def estimate(figures: Mapping[str, Any], key: str, digits: int | None = None) -> str:
    """A figure without its unit and, in brackets, its 95 % interval if it has one; a dash where it is not known.

    `digits` are those after the point; none: as many as the page shows.
    """
    if figures.get(key) is None:
        return "–"
    words = words_of(key) if digits is None else words_of(key)._replace(digits=digits)
    value, *ends = (number(figures[f"{key}{end}"], words) for end in ("", *ENDS) if f"{key}{end}" in figures)
    if not ends:
        return value
    return f"{value} ({(' to ' if ends[0].startswith('−') else '–').join(ends)})"
