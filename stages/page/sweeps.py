"""The files in `reports/sweeps/`: how a sweep lies on disk, and which of its figures are drawn over the knob's values.

`stages.sweep` writes them and draws the picture beside each; the page reads and draws them too.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from stages.captioner.checkpoint import BASELINE
from stages.page.kept import BOUND, Kept, Row, Strict, Text, read_kept, settings_of
from stages.page.web_charts import Bar
from stages.records.metrics import REPORTS
from stages.records.provenance import Provenance
from stages.setup.params import Params

SWEEPS = REPORTS / "sweeps"
# What is drawn. Decoding changes the baseline too: changes from it say little then.
DRAWN = ("speedup", "cider_change_share", "same_caption")
DRAWN_WITH_BASELINE = ("speedup", "latency_ms", "cider", "same_caption")
Number = Annotated[int | FiniteFloat, Field(gt=-BOUND, lt=BOUND)]


class Measured(Row):
    """A checkpoint's figures at a value of the knob."""

    value: Number


class Failed(Strict):
    """A value of the knob that could not be measured, and why."""

    value: Number
    failed: Text


class Sweep(Kept):
    """A file of `reports/sweeps/`: what was found at each value. Its provenance's settings are all but the knob; older
    files lack it, and may name their machine."""

    knob: Text
    values: list[Measured | Failed]
    machine: Text | None = None

    def measured(self) -> list[dict[str, Any]]:
        """A row of value, checkpoint and figures for each checkpoint at each value that did not fail."""
        return [own.model_dump() for own in self.values if isinstance(own, Measured)]

    def checkpoints(self) -> list[str]:
        """Those that have figures, in the order in which they come."""
        return list(dict.fromkeys(own.checkpoint for own in self.values if isinstance(own, Measured)))

    def failed(self) -> list[Failed]:
        """The values that failed."""
        return [own for own in self.values if isinstance(own, Failed)]


def read_sweeps(folder: Path) -> dict[str, Sweep]:
    """All sweeps by their files' names, sorted. Raises InputError at a file that is not what a sweep writes."""
    return read_kept(folder, Sweep, "sweep")


def swept_settings(knob: str, checkpoints: Collection[str], params: Params, pictures: dict[str, Any]) -> dict[str, Any]:
    """The settings of these checkpoints' figures but for the knob."""
    settings = settings_of(checkpoints, params, pictures)
    group: Any = settings
    *groups, last = knob.split(".")
    for key in groups:
        group = group.get(key) if isinstance(group, dict) else None
    if isinstance(group, dict):
        group.pop(last, None)
    return settings


def strange_sweeps(
    sweeps: dict[str, Sweep], run: Provenance, params: Params, pictures: dict[str, Any]
) -> dict[str, str]:
    """Of the sweeps that are not of a page's own run, by file, a sentence that says whose they are."""
    sentences = {
        file: sweep.strange(swept_settings(sweep.knob, sweep.checkpoints(), params, pictures), run)
        for file, sweep in sweeps.items()
    }
    return {file: sentence for file, sentence in sentences.items() if sentence}


def drawn_curves(sweep: Sweep) -> dict[str, dict[str, list[Bar]]]:
    """Of each figure that is drawn, a curve for each checkpoint: bars that are named by the values, ascending."""
    rows = sorted(sweep.measured(), key=lambda row: float(row["value"]))
    checkpoints = sweep.checkpoints()
    curves = {
        key: {name: _curve([row for row in rows if row["checkpoint"] == name], key) for name in checkpoints}
        for key in (DRAWN_WITH_BASELINE if BASELINE.name in checkpoints else DRAWN)
    }
    return {key: own for key, own in curves.items() if any(own.values())}


def _curve(rows: list[dict[str, Any]], key: str) -> list[Bar]:
    return [Bar.of(str(row["value"]), row, key) for row in rows if key in row]
