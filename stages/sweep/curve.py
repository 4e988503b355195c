"""A sweep's figures as files that the report's page shows, as a picture and as a table in the terminal."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend must be chosen first
import pandas as pd
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from stages.captioner.checkpoint import BASELINE
from stages.measure.metrics import REPORTS, write_metrics, write_text

SWEEPS = REPORTS / "sweeps"
Row = dict[str, Any]
# What is drawn over the value: its name, and where the baseline lies.
AXES: dict[str, tuple[str, float | None]] = {
    "speedup": ("times as fast\nas the baseline", 1),
    "latency_ms": ("ms a caption", None),
    "cider": ("CIDEr", None),
    "cider_change": ("CIDEr, change from\nthe baseline", 0),
    "same_caption": ("share of captions\nas the baseline's", 1),
}
# Decoding changes the baseline too, so that what is measured by it says little.
DRAWN = ("speedup", "cider_change", "same_caption")
DRAWN_WITH_BASELINE = ("speedup", "latency_ms", "cider", "same_caption")
# Told apart without color too.
MARKERS = "osD^vPX*"


def to_row(value: float, checkpoint: str, figures: dict[str, dict[str, Any]]) -> Row:
    """A checkpoint's figures at a value: size, and all of speed and quality that has a 95 % interval, with it."""
    benchmark, quality = figures["benchmark"], figures["quality"]
    with_interval = [("speedup", benchmark), ("latency_ms", benchmark)]
    with_interval += [(name, quality) for name in quality if f"{name}_ci_low" in quality]
    row: Row = {"value": value, "checkpoint": checkpoint, "checkpoint_mb": benchmark["checkpoint_mb"]}
    return row | {
        f"{name}{part}": source[f"{name}{part}"]
        for name, source in with_interval
        for part in ("", "_ci_low", "_ci_high")
    }


def write_curve(knob: str, rows: list[Row], machine: str, folder: Path = SWEEPS) -> None:
    """Writes <knob>.json, <knob>.csv and <knob>.png, each whole or not at all.

    The picture is left out, and an older one removed, where every value failed.
    """
    write_metrics({"knob": knob, "machine": machine, "values": rows}, folder / f"{knob}.json")
    write_text(pd.DataFrame(rows).to_csv(index=False), folder / f"{knob}.csv")
    picture = folder / f"{knob}.png"
    picture.unlink(missing_ok=True)
    if done := [row for row in rows if "failed" not in row]:
        _draw(knob, done, machine, picture)


def _draw(knob: str, rows: list[Row], machine: str, picture: Path) -> None:
    """Each figure over the value with its 95 % interval, a line for each checkpoint, one panel below the other."""
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    wanted = DRAWN_WITH_BASELINE if BASELINE.name in checkpoints else DRAWN
    drawn = [name for name in wanted if any(name in row for row in rows)]
    figure, panels = plt.subplots(
        len(drawn), 1, sharex=True, figsize=(8, 2.3 * len(drawn) + 0.8), layout="constrained", squeeze=False
    )
    for name, axes in zip(drawn, panels[:, 0], strict=True):
        for number, checkpoint in enumerate(checkpoints):
            own = [row for row in rows if row["checkpoint"] == checkpoint and name in row]
            _draw_line(axes, number, checkpoint, name, own)
        label, baseline = AXES[name]
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        if baseline is not None:
            axes.axhline(baseline, color="0.6", linewidth=1, linestyle="--", zorder=0)
    values = sorted({row["value"] for row in rows})
    panels[-1, 0].set_xticks(values, [f"{value:g}" for value in values])
    panels[-1, 0].set_xlabel(f"{knob}\n95 % intervals, the baseline dashed; {machine}")
    panels[0, 0].legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    unfinished = picture.with_name(f"{picture.name}.unfinished")
    figure.savefig(unfinished, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    unfinished.rename(picture)


def _draw_line(axes: Axes, number: int, checkpoint: str, name: str, rows: list[Row]) -> None:
    middle = [row[name] for row in rows]
    errors = [
        [row[name] - row[f"{name}_ci_low"] for row in rows],
        [row[f"{name}_ci_high"] - row[name] for row in rows],
    ]
    marker, color = MARKERS[number % len(MARKERS)], f"C{number}"
    values = [row["value"] for row in rows]
    axes.errorbar(values, middle, yerr=errors, capsize=4, marker=marker, color=color, label=checkpoint)


def print_curve(knob: str, rows: list[Row]) -> None:
    """Prints the values with what one decides by, and why the others failed."""
    table = Table(title=knob)
    for heading in ("value", "checkpoint"):
        table.add_column(heading)
    for heading in ("speed-up (95 %)", "ms", "CIDEr (95 %)", "same caption", "MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "failed" in row:
            table.add_row(str(row["value"]), "failed")
            continue
        table.add_row(
            str(row["value"]),
            row["checkpoint"],
            _interval(row, "speedup", 2),
            f"{row['latency_ms']:.1f}",
            _interval(row, "cider", 3) if "cider" in row else "",
            f"{row['same_caption']:.1%}" if "same_caption" in row else "",
            f"{row['checkpoint_mb']:.1f}",
        )
    console = Console(width=max(Console().width, 110), markup=False, emoji=False, highlight=False)
    console.print(table)
    for row in rows:
        if "failed" in row:
            console.print(f"{row['value']} failed: {row['failed']}", soft_wrap=True)


def _interval(row: Row, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} ({row[f'{name}_ci_low']:.{digits}f} to {row[f'{name}_ci_high']:.{digits}f})"
