"""The files in `reports/sparse/`: how fast kernels for zeros are on a machine, and what zeros cost in captions; and the
section of `reports/README.md` that is made of them.

`sparse_speed` and `sparse_captions` write them.
"""

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from stages.captioner.command_line import InputError, read_text
from stages.page.kept import BOUND, Figure, Kept, Strict, Text, read_kept
from stages.page.markdown import estimate, table
from stages.records.metrics import REPORTS, write_text
from stages.setup.params import Name

PAGE = REPORTS / "README.md"
SPARSE = REPORTS / "sparse"
CAPTIONS = SPARSE / "captions" / "demo.json"
SECTION = re.compile(r"(?<=<!-- sparse: made by `make sparse` -->\n\n).*?(?=\n<!-- end of sparse -->)", re.DOTALL)

Part = Literal["picture", "word"]
Zeros = Literal["none", "anywhere", "blocks", "2:4"]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, lt=BOUND, allow_inf_nan=False)]
ALL = "all layers"
PARTS: dict[Part, str] = {"picture": "a picture (encoder, 577 rows)", "word": "a word (decoder, 1 row)"}
WHERE: dict[Zeros, str] = {
    "anywhere": "zeros anywhere",
    "blocks": "zeros in blocks of 16×16",
    "2:4": "two zeros in each four",
}
HOPED_FOR = 0.9  # the share of zeros below which a kernel would have to win to be of use
BUDGET = -0.01  # of CIDEr, at the interval's lower bound: what params.yaml's `accept` allows


class Speed(Strict):
    """A kernel at a layer, or at all of a part, with a share of zeros: milliseconds for a picture or a word, and how
    many times as fast it is as dense float32, and as the fastest dense int8."""

    part: Part
    layer: Text
    kernel: Name
    label: Text
    zeros: Zeros
    share: Share
    ms: Positive
    speedup: Positive
    speedup_ci_low: Positive
    speedup_ci_high: Positive
    over_int8: Positive
    over_int8_ci_low: Positive
    over_int8_ci_high: Positive


class Speeds(Kept):
    """A file of `reports/sparse/`: all kernels on one machine, and why others are not there."""

    machine: Text
    host: dict[str, Any]
    threads: int
    sessions: int
    rounds: int
    missing: dict[Name, Text]
    speeds: list[Speed] = Field(min_length=1)

    def curve(self, kernel: str, part: Part, layer: str = ALL) -> list[Speed]:
        """A kernel's speeds at a layer, from few zeros to many."""
        own = [speed for speed in self.speeds if (speed.kernel, speed.part, speed.layer) == (kernel, part, layer)]
        return sorted(own, key=lambda speed: speed.share)

    def kernels(self, *zeros: Zeros) -> dict[str, str]:
        """The labels of kernels for zeros that lie so."""
        return {speed.kernel: speed.label for speed in self.speeds if speed.zeros in zeros}

    def layers(self, part: Part) -> list[str]:
        """Those of a part, all together first."""
        return list(dict.fromkeys([ALL, *(speed.layer for speed in self.speeds if speed.part == part)]))


class Cost(Strict):
    """What a way to prune the demo's captioner costs, with intervals: CIDEr as a share of the unpruned one's."""

    method: Text
    zeros: Zeros
    share: Share
    cider_change_share: Figure
    cider_change_share_ci_low: Figure
    cider_change_share_ci_high: Figure
    same_caption: Figure
    same_caption_ci_low: Figure
    same_caption_ci_high: Figure
    kl: Figure
    kl_ci_low: Figure
    kl_ci_high: Figure


class Costs(Kept):
    """The file of what zeros cost in captions."""

    pictures: int
    costs: list[Cost] = Field(min_length=1)


class Crossing(NamedTuple):
    """The share of zeros from which a kernel is faster than another, and its 95 % interval; None: never, as far as was
    measured."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        ends = ["…" if end is None else f"{100 * end:.0f}" for end in (self.low, self.high)]
        return f"{100 * self.value:.0f} % ({'–'.join(ends)})"


def crossing(curve: Sequence[Speed], figure: Literal["speedup", "over_int8"]) -> Crossing:
    """Where a kernel's speed, against float32 or int8, reaches 1 for good; the first share if that is before it."""
    shares = [speed.share for speed in curve]
    ends = ("", "_ci_high", "_ci_low")  # as a faster kernel gets there sooner
    return Crossing(*(_reaches_one(shares, [getattr(speed, f"{figure}{end}") for speed in curve]) for end in ends))


def _reaches_one(shares: Sequence[float], speeds: Sequence[float]) -> float | None:
    """On straight lines between the logarithms of speeds at ascending shares."""
    below = [number for number, speed in enumerate(speeds) if speed < 1]
    if not below:
        return shares[0]
    if below[-1] == len(speeds) - 1:
        return None
    before, after = (math.log(speeds[below[-1] + step]) for step in (0, 1))
    first, second = shares[below[-1]], shares[below[-1] + 1]
    return first + (second - first) * before / (before - after)


# In words


def verdict(own: Speeds) -> str:
    """Which kernel beats dense int8 from how many zeros on, if that is below 90 % beyond its interval."""
    parts, any_won = [], False
    for part in PARTS:
        said = []
        for zeros in ("anywhere", "blocks"):
            found = {label: crossing(own.curve(kernel, part), "over_int8") for kernel, label in _kernels(own, zeros)}
            won = [(at.high, f"{label} from {at} on") for label, at in found.items() if at.high is not None]
            first = min((one for one in won if one[0] < HOPED_FOR), default=None)
            any_won = any_won or first is not None
            said.append(f"with {WHERE[zeros]} by {first[1] if first else 'nothing'}")
        parts.append(f"for a {part} {', '.join(said)}")
    if not any_won:
        return "**Nothing beats dense int8 below 90 % zeros**, wherever they lie."
    return f"below 90 % zeros, dense int8 is beaten **{'; '.join(parts)}**."


def _kernels(own: Speeds, *zeros: Zeros) -> Collection[tuple[str, str]]:
    return own.kernels(*zeros).items()


def notes(own: Speeds) -> str:
    """Of dense int8, of 2:4, and of what is not there."""
    dense = [
        f"{label} {estimate(speed.model_dump(), 'speedup')} for a {part}"
        for kernel, label in _kernels(own, "none")
        for part in PARTS
        for speed in own.curve(kernel, part)
        if speed.speedup != 1
    ]
    halves = [
        f"{label} {estimate(speed.model_dump(), 'speedup')} for a {part}"
        for kernel, label in _kernels(own, "2:4")
        for part in PARTS
        for speed in own.curve(kernel, part)
    ]
    missing = [f"{reason} (`{kernel}`)" for kernel, reason in own.missing.items()]
    return (
        f"Times as fast as dense float32, without a zero: {', '.join(dense)}. With two zeros in each four, which no "
        f"kernel for a CPU is made for: {', '.join(halves)}. Not there: {'; '.join(missing)}.\n"
    )


# Tables


def crossings_table(own: Speeds) -> str:
    """For each kernel the share of zeros from which it beats dense float32 and dense int8, for all layers of a part."""
    headings = ["beats, from", *(f"a {part}: {dense}" for part in PARTS for dense in ("float32", "int8"))]
    rows = [
        [
            label,
            *(str(crossing(own.curve(kernel, part), figure)) for part in PARTS for figure in ("speedup", "over_int8")),
        ]
        for kernel, label in _kernels(own, "anywhere", "blocks")
    ]
    return table(headings, rows)


def layers_table(own: Speeds) -> str:
    """The same for each layer, without intervals: float32 / int8."""
    kernels = own.kernels("anywhere", "blocks")
    rows = [
        [layer, *(_both(own.curve(kernel, part, layer)) for kernel in kernels)]
        for part in PARTS
        for layer in own.layers(part)
        if layer != ALL
    ]
    return table(["beats float32 / int8 from", *kernels.values()], rows)


def _both(curve: Sequence[Speed]) -> str:
    found = [crossing(curve, figure).value for figure in ("speedup", "over_int8")]
    return " / ".join("–" if value is None else f"{100 * value:.0f} %" for value in found)


def costs_table(own: Costs) -> str:
    """A row for each way to prune."""
    order = list(WHERE)
    rows = [
        [
            WHERE[cost.zeros],
            f"{100 * cost.share:.0f} %",
            cost.method,
            *(estimate(cost.model_dump(), key) for key in ("cider_change_share", "same_caption", "kl")),
        ]
        for cost in sorted(own.costs, key=lambda cost: (order.index(cost.zeros), cost.share))
    ]
    return table(["", "zeros", "by", "CIDEr, change, %", "same captions, %", "KL, nats"], rows)


def bearable(own: Costs) -> str:
    """The most zeros of each pattern that keep the budget of CIDEr, and by which method."""
    sentences = []
    for zeros, words in WHERE.items():
        kept = [cost for cost in own.costs if cost.zeros == zeros and cost.cider_change_share_ci_low >= BUDGET]
        most = max(kept, key=lambda cost: (cost.share, cost.cider_change_share), default=None)
        said = f"{100 * most.share:.0f} % by {most.method}" if most else "none that was tried"
        sentences.append(f"{words}: {said}")
    return f"The most that keeps {1 + BUDGET:.0%} of CIDEr at the interval's lower bound: {'; '.join(sentences)}.\n"


def section(speeds: dict[str, Speeds], costs: dict[str, Costs]) -> str:
    """What stands between the marks of the page."""
    parts = []
    for name, own in speeds.items():
        chart = f"![Speed of each kernel over the share of zeros]({SPARSE.name}/{Path(name).stem}.png)\n"
        parts += [f"On {own.machine}, {own.threads} threads: {verdict(own)}\n", chart, crossings_table(own)]
        parts += [notes(own), "Layer by layer:\n", layers_table(own)]
    for costed in costs.values():
        title = f"What they cost the demo's captioner, float32, {costed.pictures} pictures:\n"
        parts += [title, costs_table(costed), bearable(costed)]
    return "\n".join(parts)


def write_page() -> None:
    """Puts all files of `reports/sparse/` into the page. Raises InputError if its marks are gone, or at a file that is
    not what belongs there."""
    page = read_text(PAGE)
    if not SECTION.search(page):
        raise InputError(f"{PAGE} lacks the marks between which its tables of sparse kernels stand: restore them")
    speeds = read_kept(SPARSE, Speeds, "timing of sparse kernels")
    costs = read_kept(CAPTIONS.parent, Costs, "captioning with zeros")
    write_text(SECTION.sub(lambda _: section(speeds, costs), page), PAGE)
