"""How fast archives are captioned, in `reports/corpus/`, and the section of `reports/README.md` that is made of it.

`make corpus-load` times this machine and adds it; without an argument, only the section is made anew.
"""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from stages.archives.speed import TIMES
from stages.captioner.command_line import run
from stages.captioner.corpus.progress import duration
from stages.page import markdown
from stages.page.kept import Strict
from stages.page.machine_files import OfMachine, Timing, WithIntervals, machine_of, update
from stages.page.machines import Fingerprint, Word
from stages.page.waterfalls import End, Positive
from stages.records.metrics import REPORTS

CORPUS = REPORTS / "corpus"
TITLES = {
    "loop": "the loop over transformers in 32 bits, one picture at a time",
    "all_cores": "`fastest`, one process with all cores",
    "per_core": "`fastest`, a process for each core",
    "ray": "`blip-on-cpu-corpus`, once it runs",
}
HUNDRED_MILLION = 10**8
MACHINES = 100  # that are thought of
READ_BYTES = 100_000  # of a picture, as web archives have them


class Rate(WithIntervals):
    """Pictures per second, and how many times as many that is as the loop's."""

    pictures_per_second: Positive
    pictures_per_second_ci_low: End
    pictures_per_second_ci_high: End
    speedup: Positive
    speedup_ci_low: End
    speedup_ci_high: End


class RayRate(Rate):
    """Through Ray: also how many times that is what processes without it reach at best, by which clocks may make it
    more than once, and the seconds that its start and end take beside."""

    ratio_to_best: Positive
    ratio_to_best_ci_low: End
    ratio_to_best_ci_high: End
    seconds_beside: Positive
    seconds_beside_ci_low: End
    seconds_beside_ci_high: End


class FullSize(Strict):
    """Pictures of the full size, captioned in every way."""

    loop: Rate
    all_cores: Rate
    per_core: Rate
    ray: RayRate


class Archive(Strict):
    """A run of the command over an archive of the demo's scenes."""

    pictures: int = Field(ge=1)
    seconds: Positive
    peak_memory_mb: Positive
    written_bytes_per_picture: Positive


class Capped(Fingerprint):
    """A machine and, if some are set, the variables that keep libraries from its newer instruction sets."""

    caps: dict[Word, Word] = Field({}, exclude_if=lambda caps: not caps)


class Corpus(OfMachine):
    """A file of `reports/corpus/`: where and by which code archives were captioned, and how fast."""

    machine: Capped
    sessions: int = Field(ge=2)
    full_size: FullSize
    demo: list[Archive] = Field(min_length=2)


def section(files: dict[str, Corpus]) -> str:
    """All machines' tables in Markdown, and what a hundred million pictures take by them."""
    return "\n" + "\n".join(_part(own, name) for name, own in files.items()) if files else ""


def _part(own: Corpus, name: str) -> str:
    machine = machine_of(own)
    whose = f"[{machine}]({CORPUS.name}/{name}), {own.commit[:7]}, {own.date}:"
    ray = own.full_size.ray.model_dump()
    ratio, beside = markdown.estimate(ray, "ratio_to_best", 2), markdown.estimate(ray, "seconds_beside", 1)
    reached = (
        f"Through Ray, that is {ratio} times what processes without it reach at best; its start and end take {beside} "
        "s beside."
    )
    return "\n".join([whose, "", _rates(own), reached, "", _archives(own), arithmetic(own), ""])


def _rates(own: Corpus) -> str:
    rows, ways = [], own.full_size.model_dump()
    for way, title in TITLES.items():
        figures = ways[way]
        speedup = "1" if way == "loop" else markdown.estimate(figures, "speedup", 1)
        rows.append([title, markdown.estimate(figures, "pictures_per_second", 2), speedup])
    return markdown.table(["full size, ten words", "pictures a second", "times as many as the loop"], rows)


def _archives(own: Corpus) -> str:
    rows = [
        [f"{row.pictures:,}", f"{row.seconds:.1f} s", f"{row.peak_memory_mb:.0f} MB"]
        for row in sorted(own.demo, key=lambda row: row.pictures)
    ]
    return markdown.table(["pictures of the demo", "from the command's start to its end", "memory at its peak"], rows)


def arithmetic(own: Corpus) -> str:
    """A hundred million pictures, on paper: machines, hours, and what costs."""
    rate = own.full_size.ray.pictures_per_second
    hours = HUNDRED_MILLION / rate / 3600
    largest = max(own.demo, key=lambda row: row.pictures)
    written = HUNDRED_MILLION * largest.written_bytes_per_picture / 1e9
    read = HUNDRED_MILLION * READ_BYTES / 1e12
    stream = MACHINES * rate * READ_BYTES / 1e6
    return (
        f"**A hundred million pictures**, of the full size: 100,000,000 ÷ {rate:.3g} a second ÷ 3600 = {hours:,.0f} "
        f"hours of one such machine ({own.machine.usable_cores or own.machine.cores} cores), so {MACHINES} of them "
        f"take {duration(3600 * hours / MACHINES)}. What they cost is {hours:,.0f} times an hour's price of one, and "
        f"grows with the words of a caption and falls with the cores' speed; all else is small beside it. They read "
        f"{read:,.0f} TB at {READ_BYTES // 1000} KB a picture, {stream:,.0f} MB a second all together, and write "
        f"{written:,.1f} GB of captions and of what is done, at {largest.written_bytes_per_picture:.0f} bytes a "
        "picture. The numbers of those that are done, of eight bytes each, take 0.8 GB of memory of the machine that "
        "leaves them out after a stop.\n"
    )


MEASUREMENT = Timing(Corpus, "measurement", "make corpus-load", TIMES, CORPUS, "archives", section)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where they were timed on this machine; none: only the section")
    ] = None,
) -> None:
    """Writes this machine's file into reports/corpus/ if archives were timed, and the section."""
    update(MEASUREMENT, checkout)


if __name__ == "__main__":
    run(main)
