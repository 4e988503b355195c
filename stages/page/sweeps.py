"""The files in `reports/sweeps/`: how a sweep lies on disk, and which of its figures are drawn over the knob's values.

`stages.sweep` writes them and draws the picture beside each; the page reads and draws them too.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import InputError, brief, explain
from stages.page.web_charts import Bar
from stages.records.metrics import REPORTS
from stages.records.provenance import Provenance, differences, digest
from stages.setup.params import Name, Params

SWEEPS = REPORTS / "sweeps"
LARGEST = 10_000_000  # bytes: ten thousand rows
# What is drawn. Decoding changes the baseline too: changes from it say little then.
DRAWN = ("speedup", "cider_change_share", "same_caption")
DRAWN_WITH_BASELINE = ("speedup", "latency_ms", "cider", "same_caption")
# Larger than any knob can be, and small enough to be drawn.
BOUND = 10**19
AGAIN = "run that sweep again, or delete it"
Figure = Annotated[float, Field(gt=-BOUND, lt=BOUND, allow_inf_nan=False)]
Number = Annotated[int | FiniteFloat, Field(gt=-BOUND, lt=BOUND)]
Text = Annotated[str, Field(max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Measured(_Strict):
    """A checkpoint's figures at a value of the knob, under the names that benchmark and evaluation give them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figure] = Field(init=False)

    value: Number
    checkpoint: Name


class Failed(_Strict):
    """A value of the knob that could not be measured, and why."""

    value: Number
    failed: Text


class Sweep(_Strict):
    """A file of `reports/sweeps/`: what was found at each value, of one model on one machine."""

    knob: Text
    values: list[Measured | Failed]
    provenance: Provenance | None = Field(None, description="its settings: all but the knob; none in older files")
    machine: Text | None = Field(None, description="of older files only")

    def measured(self) -> list[dict[str, Any]]:
        """A row of value, checkpoint and figures for each checkpoint at each value that did not fail."""
        return [own.model_dump() for own in self.values if isinstance(own, Measured)]

    def whose(self) -> str:
        """The model and the machine; nothing if the file doesn't say."""
        return f"{self.provenance.model} on {self.provenance.machine}" if self.provenance else ""

    def checkpoints(self) -> list[str]:
        """Those that have figures, in the order in which they come."""
        return list(dict.fromkeys(own.checkpoint for own in self.values if isinstance(own, Measured)))

    def failed(self) -> list[Failed]:
        """The values that failed."""
        return [own for own in self.values if isinstance(own, Failed)]


def read_sweeps(folder: Path) -> dict[str, Sweep]:
    """All sweeps by their files' names, sorted. Raises InputError at a file that is not what a sweep writes."""
    return {path.name: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> Sweep:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError(f"it is no file of at most {LARGEST / 1e6:.0f} MB")
        return Sweep.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else brief(error)
        raise InputError(f"{path} is not a sweep's figures ({reason}): delete it or run the sweep again") from None


def swept_settings(knob: str, checkpoints: Collection[str], params: Params, pictures: dict[str, Any]) -> dict[str, Any]:
    """All that params.yaml says of these checkpoints' figures but for the knob, and what the stage `host` records of
    the pictures' own files, which calibrate too."""
    settings = params.model_dump(mode="json", include={"decoding", "evaluation", "benchmark"})
    settings["variants"] = {
        name: recipe.model_dump(mode="json") for name, recipe in params.variants.items() if name in checkpoints
    }
    settings["model"] = params.chosen_model().model_dump(mode="json", exclude={"source"})
    settings["files"] = pictures
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
    sentences = {}
    for file, sweep in sweeps.items():
        settings = digest(swept_settings(sweep.knob, sweep.checkpoints(), params, pictures))
        own = run.model_copy(update={"settings": settings})
        if sweep.provenance is None:
            sentences[file] = f"It doesn't say whose it is, so it is not shown: {AGAIN}."
        elif differing := differences(sweep.provenance, own):
            sentences[file] = f"It is of {sweep.whose()}, with {' and '.join(differing)} than this run."
    return sentences


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
