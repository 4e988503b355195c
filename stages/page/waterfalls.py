"""The files in `reports/waterfalls/`: what each part of a recipe brings, a row for each part with all those before.

`stages.sweep.waterfall` writes them; the report shows them.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages.page.kept import BOUND, Kept, Row, read_kept, settings_of
from stages.page.markdown import estimate, table
from stages.page.words import words_of
from stages.records.metrics import REPORTS
from stages.records.provenance import Provenance
from stages.setup.params import Name, Params

WATERFALLS = REPORTS / "waterfalls"
# The columns of its table: the figure and the heading.
COLUMNS = {
    "speedup": "times as fast",
    "latency_ms": "a caption",
    "encode_ms": "the picture",
    "token_ms": "a further word",
    "peak_memory_mb": "memory",
    "caption_gmacs": "multiply-adds",
    "parameters_m": "parameters",
    "checkpoint_mb": "on disk",
    "cider_change_share": "CIDEr, change",
}
Part = Annotated[str, Field(pattern=r"^[A-Za-z0-9_{}:,. +-]{1,200}$")]
Positive = Annotated[float, Field(gt=0, lt=BOUND, allow_inf_nan=False)]
End = Annotated[float, Field(ge=0, lt=BOUND, allow_inf_nan=False)]  # of two noisy sessions it may well round to 0


class Step(Row):
    """A checkpoint of the parts that its predecessor has and those that are added, as params.yaml has them; the first
    has none. What is not known of it is absent."""

    added: list[Part]
    speedup: Positive
    speedup_ci_low: End
    speedup_ci_high: End


class Waterfall(Kept):
    """A file of `reports/waterfalls/`: the baseline, and a recipe that grows until it is the variant's."""

    variant: Name
    steps: list[Step] = Field(min_length=1)
    provenance: Provenance


def read_waterfalls(folder: Path) -> dict[str, Waterfall]:
    """All waterfalls by their files' names, sorted. Raises InputError at a file that is not what one writes."""
    return read_kept(folder, Waterfall, "waterfall")


def strange_waterfalls(
    waterfalls: dict[str, Waterfall], run: Provenance, params: Params, pictures: dict[str, Any]
) -> dict[str, str]:
    """Of the waterfalls that are not of a page's own run, by file, a sentence that says whose they are."""
    sentences = {
        file: own.strange(settings_of([own.variant], params, pictures), run) for file, own in waterfalls.items()
    }
    return {file: sentence for file, sentence in sentences.items() if sentence}


def waterfall_table(own: Waterfall) -> str:
    """A table in Markdown with a row for each step; of columns, those that any step has a figure for."""
    rows = [step.model_dump() for step in own.steps]
    columns = known_columns(rows)
    headings = ["", *(f"{heading}, {words_of(key).unit}".removesuffix(", ×") for key, heading in columns.items())]
    titles = [", ".join(f"`{part}`" for part in step.added) or step.checkpoint for step in own.steps]
    return table(
        headings, [[title, *(estimate(row, key) for key in columns)] for title, row in zip(titles, rows, strict=True)]
    )


def known_columns(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The columns for which any of the rows has a figure."""
    return {key: heading for key, heading in COLUMNS.items() if any(key in row for row in rows)}
