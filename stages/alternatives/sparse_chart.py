"""The picture of `reports/sparse/`: speed over the share of zeros, and where it passes what is dense."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from stages.alternatives.sparse_page import PARTS, Part, Speeds, crossing

COLORS = [f"C{number}" for number in range(10)]  # matplotlib's own
DENSE = "#2b2b33"
STYLES = {"anywhere": "-", "blocks": "--"}
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def draw(own: Speeds, picture: Path) -> None:
    """A panel for each part; written whole or not at all."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2), PARTS, strict=True):
        _draw_dense(axes, own, part)
        _draw_sparse(axes, own, part)
        _label(axes, own, part)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize="small")
    figure.supxlabel(
        f"○ passes dense float32, ● passes the fastest dense int8; bars and bands: 95 % intervals; {own.machine}",
        fontsize="small",
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    unfinished = picture.with_name(f"{picture.name}.unfinished")
    figure.savefig(unfinished, format="png", dpi=110, metadata={"Software": None})
    unfinished.rename(picture)


def _draw_dense(axes: Axes, own: Speeds, part: Part) -> None:
    for line, (kernel, label) in zip(("-", ":", "-."), own.kernels("none").items(), strict=False):
        for speed in own.curve(kernel, part):
            axes.axhline(speed.speedup, color=DENSE, linestyle=line, linewidth=1.5, label=label)
            axes.axhspan(speed.speedup_ci_low, speed.speedup_ci_high, color=DENSE, alpha=0.08, linewidth=0)


def _draw_sparse(axes: Axes, own: Speeds, part: Part) -> None:
    for color, (kernel, label) in zip(COLORS, own.kernels("anywhere", "blocks", "2:4").items(), strict=False):
        curve = own.curve(kernel, part)
        shares = [100 * speed.share for speed in curve]
        speeds = [speed.speedup for speed in curve]
        reach = (
            [speed.speedup - speed.speedup_ci_low for speed in curve],
            [speed.speedup_ci_high - speed.speedup for speed in curve],
        )
        marker, line = ("*", "none") if curve[0].zeros == "2:4" else ("none", STYLES[curve[0].zeros])
        axes.errorbar(
            shares, speeds, reach, color=color, label=label, linestyle=line, marker=marker, capsize=3, elinewidth=1
        )
        if curve[0].zeros != "2:4":
            _mark_crossings(axes, own, part, kernel, color)


def _mark_crossings(axes: Axes, own: Speeds, part: Part, kernel: str, color: str) -> None:
    curve = own.curve(kernel, part)
    int8 = max(speed.speedup for dense in own.kernels("none") for speed in own.curve(dense, part))
    for figure, height, face in (("speedup", 1.0, "white"), ("over_int8", int8, color)):
        at = crossing(curve, figure).value  # type: ignore[arg-type]
        if at is not None and at > curve[0].share:  # else it lies to the left of what was measured
            axes.plot(100 * at, height, "o", color=color, markerfacecolor=face, markersize=8, zorder=5)


def _label(axes: Axes, own: Speeds, part: Part) -> None:
    speeds = [speed.speedup for kernel in {each.kernel for each in own.speeds} for speed in own.curve(kernel, part)]
    axes.set_yscale("log")
    axes.set_ylim(min(speeds) / 1.5, max(speeds) * 1.5)  # whatever noise makes of intervals
    axes.yaxis.set_major_locator(FixedLocator(TICKS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.set_title(PARTS[part], loc="left", fontsize="medium")
    axes.set_ylabel("times as fast as dense float32")
    axes.set_xlabel("zeros, %")
    axes.spines[["top", "right"]].set_visible(False)
