"""The page's charts: SVG that is a part of the page, in its colors and fonts, each with its figures in words."""

import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from stages.captioner.command_line import shorten
from stages.page.words import Words, number, words_of

# Colors that stand for the page's own, which its style sheet gives in light and in dark.
COLORS = {"ink": "#010101", "muted": "#020202", "line": "#030303", "accent": "#040404", "band": "#050505"}
INK, MUTED, LINE, ACCENT, BAND = COLORS.values()
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "page",  # the same figures give the same bytes
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 12,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 11,
    "axes.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
WIDTH, ROW = 420, 27  # what the page shows as pixels where it is wide enough
LONGEST_NAME = 26
CURVE_COLORS, MARKERS = (ACCENT, INK, MUTED), "osD^vPX*"
INCH = 72


class Bar(NamedTuple):
    """A checkpoint's figure, with the bounds of its 95 % interval and a limit where there are some."""

    name: str
    value: float | None  # None where noise hides it
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    share: float | None = None  # how much of the limit is reached

    @classmethod
    def of(cls, name: str, figures: dict[str, Any], key: str) -> Self:
        """The figure of this key, without a limit."""
        return cls(name, figures.get(key), figures.get(f"{key}_ci_low"), figures.get(f"{key}_ci_high"))

    def ends(self) -> tuple[float, float]:
        """The interval's bounds; the figure itself if it has none."""
        value = self.value or 0.0
        return value if self.low is None else self.low, value if self.high is None else self.high


class Point(NamedTuple):
    """A checkpoint by speed-up and quality, (value, low, high) each; `best` if no other beats it."""

    name: str
    speed: tuple[float, float, float]
    quality: tuple[float, float, float]
    best: bool


def slug(name: str) -> str:
    """A name as a part of an id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def draw_speed(name: str, title: str, bars: Sequence[Bar], control: Bar, words: Words) -> Markup:
    """Speed-ups as dots with their intervals, over the band that the baseline against itself covers."""
    with _figure(ROW * len(bars) + 50) as (figure, axes):
        axes.axvspan(*control.ends(), color=BAND, linewidth=0)
        axes.axvline(1, color=LINE, linewidth=1)
        for row, bar in enumerate(bars):
            axes.hlines(row, *bar.ends(), color=ACCENT, linewidth=3)
            axes.plot(bar.value or 0.0, row, "o", color=ACCENT, markersize=8)
            _say(axes, f"{number(bar.value, words)}×", (bar.ends()[1], row))
        _name_rows(axes, bars)
        axes.set_xlim(0, 1.2 * max(bar.ends()[1] for bar in bars))
        axes.set_xlabel("times as fast as the baseline; shaded: noise")
        low, high = (number(end, words) for end in control.ends())
        return _svg(figure, f"{title}. {_figures(bars, words)}. Noise covers {low} to {high}.", name)


def draw_bars(name: str, title: str, bars: Sequence[Bar], words: Words) -> Markup:
    """A figure of each checkpoint as a bar with its interval, and a mark where the machine's limit is."""
    with _figure(ROW * len(bars) + 10) as (figure, axes):
        for row, bar in enumerate(bars):
            if bar.limit is not None:
                axes.plot([bar.limit, bar.limit], [row - 0.4, row + 0.4], color=INK, linewidth=3)
            if bar.value is None:
                _say(axes, "hidden by noise", (bar.limit or 0, row), MUTED)
                continue
            axes.barh(row, bar.value, height=0.5, color=ACCENT, alpha=0.35, linewidth=0)
            axes.hlines(row, *bar.ends(), color=ACCENT, linewidth=2)
            reached = "" if bar.share is None else f", {bar.share:.0%}"
            text = f"{number(bar.value, words)} {words.unit}".strip() + reached
            _say(axes, text, (max(bar.ends()[1], bar.limit or 0), row))
        _name_rows(axes, bars)
        margin = 1.25 if all(bar.share is None for bar in bars) else 1.45
        axes.set_xlim(0, margin * max(max(bar.ends()[1], bar.limit or 0) for bar in bars) or 1)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        return _svg(figure, f"{title}. {_figures(bars, words)}.", name)


def draw_trade_off(points: Sequence[Point], speed: Words, quality: Words, label: str) -> Markup:
    """Quality over speed, with intervals in both; filled are those that no other beats."""
    with _figure(300) as (figure, axes):
        for point in points:
            color = ACCENT if point.best else MUTED
            axes.hlines(point.quality[0], *point.speed[1:], color=color, linewidth=1.5)
            axes.vlines(point.speed[0], *point.quality[1:], color=color, linewidth=1.5)
            face = ACCENT if point.best else "none"
            axes.plot(point.speed[0], point.quality[0], "o", color=color, markerfacecolor=face, markersize=10)
        _use_speed_and_quality(axes, label, quality, margin=0.25)
        _label_apart(figure, axes, points)
        said = [
            f"{point.name}: {number(point.speed[0], speed)} times as fast, {number(point.quality[0], quality)}"
            + (" (no other beats it)" if point.best else "")
            for point in points
        ]
        return _svg(figure, f"Speed against quality ({label}). {'; '.join(said)}.", "trade-off")


def draw_front(
    name: str, candidates: Sequence[Point], checkpoints: Sequence[Point], words: Words, label: str
) -> Markup:
    """Quality over speed of all that a search tried, small, filled where no other beats it, and of checkpoints, square
    and with their names."""
    with _figure(340) as (figure, axes):
        for point in (*candidates, *checkpoints):
            small = point in candidates
            color = (ACCENT if point.best else MUTED) if small else INK
            axes.hlines(point.quality[0], *point.speed[1:], color=color, linewidth=1, alpha=0.5)
            axes.vlines(point.speed[0], *point.quality[1:], color=color, linewidth=1, alpha=0.5)
            face = color if point.best else "none"
            shape, size = ("o", 5) if small else ("s", 7)
            axes.plot(point.speed[0], point.quality[0], shape, color=color, markerfacecolor=face, markersize=size)
        _use_speed_and_quality(axes, label, words, margin=0.15)
        _label_apart(figure, axes, checkpoints)
        words_of_speed = words_of("speedup")
        said = [
            f"{own.name}: {number(own.speed[0], words_of_speed)} times as fast, {number(own.quality[0], words)}"
            for own in (*checkpoints, *(point for point in candidates if point.best))
        ]
        title = f"Speed against quality ({label}) of {len(candidates)} candidates"
        return _svg(figure, f"{title}. {'; '.join(said)}.", name)


def draw_curves(name: str, title: str, curves: dict[str, list[Bar]], label: str, words: Words) -> Markup:
    """A figure over the values of a knob, a curve for each checkpoint; here the names of bars are the values."""
    with _figure(230) as (figure, axes):
        plot_curves(axes, curves, words, CURVE_COLORS)
        axes.set_xlabel(label)
        axes.grid(color=LINE, linewidth=0.8)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=11, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        said = "; ".join(f"{checkpoint}: {_figures(bars, words)}" for checkpoint, bars in curves.items())
        return _svg(figure, f"{title}. {said}.", name)


def draw_losses(name: str, title: str, losses: Sequence[tuple[int, float]]) -> Markup:
    """The loss on the way through a training, (step, loss) each."""
    with _figure(180) as (figure, axes):
        axes.plot(*zip(*losses, strict=True), "-", color=ACCENT, linewidth=1.5)
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.grid(color=LINE, linewidth=0.8)
        (_, first), (_, last) = losses[0], losses[-1]
        return _svg(figure, f"{title}: from {first:.4f} to {last:.4f} in {losses[-1][0]:,} steps.", name)


def draw_right_by_score(curves: dict[str, list[Bar]]) -> Markup:
    """The share of right captions over their mean score, a curve for each checkpoint; here the names of bars are those
    scores."""
    words = words_of("right")
    with _figure(260) as (figure, axes):
        _plot_lines(axes, curves, CURVE_COLORS)
        _use_percent(axes, words)
        axes.set_xlabel("score: mean log-probability of a caption's tokens")
        axes.set_ylabel("captions that are right")
        axes.grid(color=LINE, linewidth=0.8)
        axes.legend(frameon=False, fontsize=11, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        said = "; ".join(f"{checkpoint}: {_figures(bars, words)}" for checkpoint, bars in curves.items())
        return _svg(figure, f"Share of right captions by their score. {said}.", "right-by-score")


def plot_curves(axes: Axes, curves: dict[str, list[Bar]], words: Words, colors: Sequence[str]) -> None:
    """Draws a line for each checkpoint with its intervals, by color and by marker, over the values of a knob."""
    _plot_lines(axes, curves, colors)
    axes.set_xticks(sorted({float(bar.name) for bars in curves.values() for bar in bars}))
    axes.xaxis.set_major_formatter("{x:g}")
    _use_percent(axes, words)


def _plot_lines(axes: Axes, curves: dict[str, list[Bar]], colors: Sequence[str]) -> None:
    for number_of, (checkpoint, bars) in enumerate(curves.items()):
        values = [float(bar.name) for bar in bars]
        color, marker = colors[number_of % len(colors)], MARKERS[number_of % len(MARKERS)]
        middle = [bar.value or 0.0 for bar in bars]
        axes.plot(values, middle, f"{marker}-", color=color, label=checkpoint, markersize=6, linewidth=1.5)
        for value, bar in zip(values, bars, strict=True):
            axes.vlines(value, *bar.ends(), color=color, linewidth=2)


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / INCH, height / INCH), layout="constrained", dpi=INCH)
        yield figure, figure.subplots()


def _name_rows(axes: Axes, bars: Sequence[Bar]) -> None:
    axes.set_yticks(range(len(bars)), [shorten(bar.name, LONGEST_NAME) for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)


def _say(axes: Axes, text: str, place: tuple[float, float], color: str = INK) -> None:
    axes.annotate(text, place, xytext=(9, 0), textcoords="offset points", va="center", color=color)


def _use_speed_and_quality(axes: Axes, label: str, words: Words, margin: float) -> None:
    """Axes of a chart of quality over speed, once all is drawn; the margin is above and below that."""
    axes.set_xlabel("times as fast as the baseline")
    axes.set_ylabel(label)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.12, y=margin)
    axes.set_xlim(left=0)
    _use_percent(axes, words)


def _use_percent(axes: Axes, words: Words) -> None:
    if words.unit == "%":
        axes.yaxis.set_major_formatter(
            lambda share, _: f"{percent:g} %" if (percent := round(100 * share, 6)) <= 100 else ""
        )


def _label_apart(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Writes each name beside its point, where nothing is written yet."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken = [box for point in points for box in _drawn(axes, point)]
    for point in sorted(points, key=lambda point: (not point.best, -point.speed[0])):
        for right, up in _offsets():
            text = axes.annotate(
                shorten(point.name, LONGEST_NAME),
                (point.speed[0], point.quality[0]),
                xytext=(12 if right else -12, up),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 6},
                color=INK if point.best else MUTED,
                fontweight="bold" if point.best else "normal",
            )
            text.set_in_layout(False)
            text.get_window_extent()  # places it
            box = Text.get_window_extent(text)  # of the words, without the line
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            continue  # named in the table, and in the chart's words
        taken.append(box)


def _drawn(axes: Axes, point: Point) -> list[Bbox]:
    """What a point covers, in pixels: itself and the lines of its intervals."""
    (x, left, right), (y, low, high) = point.speed, point.quality
    corners = [((x, y), (x, y), 8), ((left, y), (right, y), 2), ((x, low), (x, high), 2)]
    return [Bbox(axes.transData.transform((start, end))).padded(margin) for start, end, margin in corners]


def _offsets() -> Iterable[tuple[bool, int]]:
    """Places beside a point: right or left, and how many pixels above it."""
    return [(right, sign * up) for up in range(0, 200, 8) for right in (True, False) for sign in (1, -1)]


def _figures(bars: Sequence[Bar], words: Words) -> str:
    return "; ".join(_one(bar, words) for bar in bars)


def _one(bar: Bar, words: Words) -> str:
    if bar.value is None:
        return f"{bar.name}: hidden by noise"
    text = f"{bar.name}: {number(bar.value, words)} {words.unit}".rstrip()
    if bar.low is not None and bar.high is not None:
        text += f" ({number(bar.low, words)} to {number(bar.high, words)})"
    text += "" if bar.limit is None else f", limit {number(bar.limit, words)} {words.unit}"
    return text if bar.share is None else f"{text}, {bar.share:.0%} of it reached"


def _svg(figure: Figure, words: str, name: str) -> Markup:
    """A figure as a part of a page: without a size of its own, its ids apart from other charts'."""
    file = io.StringIO()
    metadata: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=metadata, transparent=True)
    text = file.getvalue()[file.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?|'DejaVu Sans'[^;\"]*", "", text)
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" {_role(words)}>', text, count=1)
    for color, sentinel in COLORS.items():
        text = text.replace(sentinel, f"var(--{color})")
    return Markup(text)


def _role(words: str) -> str:
    return f'role="img" aria-label="{html.escape(words)}"'
