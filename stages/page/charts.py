"""The pictures of the report."""

import textwrap
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend must be chosen first

from stages.captioner.command_line import printable
from stages.captioner.images import open_image

plt.rcParams["text.parse_math"] = False  # a dollar sign in a caption is a dollar sign

INK, BAR, NOISE = "#2b2b33", "#3b7dd8", "#f2c14e"


def draw_speed(benchmarks: dict[str, dict[str, Any]], title: str, output: Path) -> None:
    """Speed-ups with their 95 % intervals, one bar per checkpoint, over the band that noise alone covers."""
    names = list(benchmarks)
    middle = [benchmarks[name]["speedup"] for name in names]
    errors = [
        [benchmarks[name]["speedup"] - benchmarks[name]["speedup_ci_low"] for name in names],
        [benchmarks[name]["speedup_ci_high"] - benchmarks[name]["speedup"] for name in names],
    ]
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(names) + 1.2), layout="constrained")
    control = benchmarks[names[0]]
    axes.axvspan(control["speedup_ci_low"], control["speedup_ci_high"], color=NOISE, alpha=0.6, label="noise floor")
    axes.barh(names, middle, xerr=errors, color=BAR, ecolor=INK, capsize=4)
    for row, value in enumerate(middle):
        axes.annotate(f"{value:.2f}x", (0, row), xytext=(6, 0), textcoords="offset points", color="white", va="center")
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the baseline, batch 1 (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    axes.set_title(title, loc="left", fontsize="medium")
    _save(figure, output)


def draw_examples(examples: list[tuple[Path, dict[str, str]]], title: str, output: Path) -> None:
    """Pictures side by side, each with every checkpoint's caption below it."""
    figure, columns = plt.subplots(
        1,
        len(examples),
        figsize=(3.4 * len(examples), 3.4 + 0.75 * len(examples[0][1])),
        layout="constrained",
        squeeze=False,
    )
    figure.suptitle(title, x=0, ha="left", fontsize="medium")
    for axes, (path, captions) in zip(columns[0], examples, strict=True):
        axes.imshow(open_image(path))
        axes.set_axis_off()
        lines = [f"{name}\n{_wrap(caption)}" for name, caption in captions.items()]
        axes.text(0, -0.04, "\n\n".join(lines), transform=axes.transAxes, va="top", fontsize=9, color=INK)
    _save(figure, output)


def _wrap(caption: str) -> str:
    lines = textwrap.wrap(caption, 40, max_lines=6, placeholder=" …")
    return "\n".join(map(printable, lines)) or "(nothing)"


def _save(figure: Any, output: Path) -> None:
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # what the font lacks is drawn as boxes
        figure.savefig(output, dpi=110, metadata={"Software": None}, bbox_inches="tight")
    plt.close(figure)
