"""A sweep's figures as files that the report's page shows, as a picture and as a table in the terminal."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from stages.captioner.command_line import InputError, explain
from stages.page.markdown import estimate
from stages.page.sweeps import SWEEPS, Measured, Sweep, drawn_curves
from stages.page.web_charts import plot_curves
from stages.page.words import words_of
from stages.records.metrics import write_metrics, write_text

ENDINGS = (".json", ".csv", ".png")
COLORS = [f"C{number}" for number in range(10)]  # matplotlib's own


def check_free(knob: str, folder: Path = SWEEPS) -> None:
    """Raises InputError if a folder or the like lies where a sweep's files will be."""
    for path in (folder / f"{knob}{ending}" for ending in ENDINGS):
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no file, and the sweep is to write one there: delete it")


def to_row(value: float, checkpoint: str, figures: dict[str, dict[str, Any]]) -> Measured:
    """A checkpoint's figures at a value: size, and all of speed and quality that has a 95 % interval, with it.

    Raises InputError if one of them is no number.
    """
    benchmark, quality = figures["benchmark"], figures["quality"]
    with_interval = [("speedup", benchmark), ("latency_ms", benchmark)]
    with_interval += [(name, quality) for name in quality if f"{name}_ci_low" in quality]
    row = {"value": value, "checkpoint": checkpoint, "checkpoint_mb": benchmark["checkpoint_mb"]} | {
        f"{name}{part}": source[f"{name}{part}"]
        for name, source in with_interval
        for part in ("", "_ci_low", "_ci_high")
    }
    try:
        return Measured.model_validate(row)
    except ValidationError as error:
        raise InputError(
            f"the figures of {checkpoint} can't be used ({explain(error)}): remove this value's experiment with "
            "`dvc exp remove` and sweep again"
        ) from None


def write_curve(sweep: Sweep, folder: Path = SWEEPS) -> None:
    """Writes <knob>.json, <knob>.csv and <knob>.png, each whole or not at all.

    The picture is left out, and an older one removed, where every value failed.
    """
    figures, table, picture = (folder / f"{sweep.knob}{ending}" for ending in ENDINGS)
    content = sweep.model_dump(mode="json", exclude_none=True)
    write_metrics(content, figures)
    write_text(pd.DataFrame(content["values"]).assign(whose=sweep.whose()).to_csv(index=False), table)
    picture.unlink(missing_ok=True)
    if sweep.measured():
        _draw(sweep, picture)


def _draw(sweep: Sweep, picture: Path) -> None:
    """What the page's charts show, one below the other."""
    drawn = drawn_curves(sweep)
    figure = Figure(figsize=(8, 2.3 * len(drawn) + 0.8), layout="constrained")
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (key, curves) in zip(panels, drawn.items(), strict=True):
        words = words_of(key)
        plot_curves(axes, curves, words, COLORS)
        axes.set_title(words.label, loc="left", fontsize="medium")
        axes.set_ylabel(words.unit)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(f"{sweep.knob}\n95 % intervals; {sweep.whose()}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
    unfinished = picture.with_name(f"{picture.name}.unfinished")
    figure.savefig(unfinished, format="png", dpi=110, metadata={"Software": None})
    unfinished.rename(picture)


def print_curve(sweep: Sweep) -> None:
    """Prints the values with what one decides by, and why the others failed."""
    table = Table(title=sweep.knob)
    for heading in ("value", "checkpoint"):
        table.add_column(heading)
    for heading in ("speed-up (95 %)", "ms", "CIDEr (95 %)", "same caption", "MB"):
        table.add_column(heading, justify="right")
    for own in sweep.values:
        if not isinstance(own, Measured):
            table.add_row(str(own.value), "failed")
            continue
        row = own.model_dump()
        table.add_row(
            str(row["value"]),
            row["checkpoint"],
            estimate(row, "speedup"),
            f"{row['latency_ms']:.1f}",
            estimate(row, "cider") if "cider" in row else "",
            f"{row['same_caption']:.1%}" if "same_caption" in row else "",
            f"{row['checkpoint_mb']:.1f}",
        )
    console = Console(width=max(Console().width, 110), markup=False, emoji=False, highlight=False)
    console.print(table)
    for failed in sweep.failed():
        console.print(f"{failed.value} failed: {failed.failed}", soft_wrap=True)
