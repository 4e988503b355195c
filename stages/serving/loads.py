"""What the server does under load: times in `reports/serving/`, a file for each machine, and the tables of them in
`reports/README.md`.

`make serve-load` times it on this machine and adds it; without an argument, only the tables are made anew.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Self

import typer
from pydantic import Field, model_validator

from stages.captioner.command_line import run
from stages.page import markdown
from stages.page.machine_files import OfMachine, Timing, WithIntervals, libraries_of, machine_of, update
from stages.page.waterfalls import End, Positive
from stages.records.metrics import REPORTS
from stages.serving.load_times import TIMES
from stages.setup.params import Name

SERVING = REPORTS / "serving"
HEADINGS = [
    "clients",
    "pictures at once",
    "captions a second",
    "times as many",
    "half within, ms",
    "99 of 100 within, ms",
    "requests",
]
FIGURES = ("per_second", "p50_ms", "p99_ms")
NOT_YET = "\nNot yet measured.\n"


class Load(WithIntervals):
    """The server under so many clients. `speedup` is over a server that captions one picture at a time."""

    clients: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    requests: int = Field(ge=1)
    per_second: Positive
    per_second_ci_low: End
    per_second_ci_high: End
    p50_ms: Positive
    p50_ms_ci_low: End
    p50_ms_ci_high: End
    p99_ms: Positive
    p99_ms_ci_low: End
    p99_ms_ci_high: End
    speedup: Positive | None = None
    speedup_ci_low: End | None = None
    speedup_ci_high: End | None = None

    @model_validator(mode="after")
    def _check_speedup(self) -> Self:
        if (self.batch_size == 1) != (self.speedup is None):
            raise ValueError("speedup is of a server that captions several pictures at a time, and of each such")
        return self


class Serving(OfMachine):
    """A file of `reports/serving/`: where, with which checkpoint and by which code the server was timed."""

    needed_libraries: ClassVar = ("openvino",)
    threads: int = Field(ge=1, description="of the server's engine")
    checkpoint: Name
    loads: list[Load] = Field(min_length=1)


def tables(files: dict[str, Serving]) -> str:
    """All machines' tables in Markdown."""
    parts = [f"{_whose(own, name)}\n\n{_table(own)}" for name, own in files.items()]
    return "\n" + "\n".join(parts) if parts else NOT_YET


def _whose(own: Serving, name: str) -> str:
    return (
        f"[{machine_of(own)}]({SERVING.name}/{name}), `{own.checkpoint}`, {own.threads} threads, {libraries_of(own)}, "
        f"{own.commit[:7]}, {own.date}:"
    )


def _table(own: Serving) -> str:
    rows = []
    for load in own.loads:
        figures = load.model_dump()
        digits = {"per_second": 2, "p50_ms": 0, "p99_ms": 0}
        rate, half, most = (markdown.estimate(figures, name, digits[name]) for name in FIGURES)
        at_once = "1" if load.batch_size == 1 else f"up to {load.batch_size}"
        speedup = "1" if load.speedup is None else markdown.estimate(figures, "speedup")
        rows.append([str(load.clients), at_once, rate, speedup, half, most, str(load.requests)])
    return markdown.table(HEADINGS, rows)


LOAD_TEST = Timing(Serving, "load test", "make serve-load", TIMES, SERVING, "the server", tables)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where it was timed on this machine; none: only the tables")
    ] = None,
) -> None:
    """Writes this machine's file into reports/serving/ if the server was timed, and the tables."""
    update(LOAD_TEST, checkout)


if __name__ == "__main__":
    run(main)
