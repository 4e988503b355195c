"""What the server does under load: times in `reports/serving/`, a file for each machine, and the tables of them in
`reports/README.md`.

`make serve-load` times it on this machine and adds it; without an argument, only the tables are made anew.
"""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import typer
from pydantic import Field, ValidationError, model_validator

from stages.captioner.command_line import InputError, explain, read_text, run
from stages.page import markdown
from stages.page.kept import Kept, Strict, read_kept
from stages.page.machines import ALL_MACHINES, SYSTEM, Fingerprint
from stages.page.waterfalls import End, Positive
from stages.records.machine import in_file_names, name_machine
from stages.records.metrics import REPORTS, read_metrics, write_metrics, write_text
from stages.serving.load_times import TIMES
from stages.setup.params import Name
from stages.sweep.checkout import git

SERVING = REPORTS / "serving"
PAGE = ALL_MACHINES
TABLES = re.compile(r"(?<=<!-- serving: made by `make serve-load` -->\n).*?(?=\n<!-- end of serving -->)", re.DOTALL)
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


class Load(Strict):
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
    def _check_intervals(self) -> Self:
        for name in FIGURES:
            low, value, high = (getattr(self, f"{name}{end}") for end in ("_ci_low", "", "_ci_high"))
            if not low <= value <= high:
                raise ValueError(f"{name} is outside of its own interval")
        return self


class Serving(Kept):
    """A file of `reports/serving/`: where, with which checkpoint and by which code the server was timed."""

    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    date: date
    threads: int = Field(ge=1, description="of the server's engine")
    new_tokens: Literal[10]
    checkpoint: Name
    machine: Fingerprint
    loads: list[Load] = Field(min_length=1)


def gather(checkout: Path) -> Serving:
    """What was timed in a clone of this project. Raises InputError if that can't stand beside others."""
    if not (checkout / TIMES).is_file():
        raise InputError(f"nothing was timed in {checkout}: run `make serve-load`")
    found = read_metrics(checkout / TIMES)
    system = re.sub(f"^({SYSTEM}).*", r"\1", found["machine"]["operating_system"])
    commit = git(checkout, "rev-parse", "HEAD").decode().strip()
    found |= {"commit": commit, "date": datetime.now(UTC).date().isoformat()}
    found["machine"] |= {"operating_system": system}
    try:
        return Serving.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise InputError(f"the times in {checkout} can't be kept ({explain(error)}): put that right") from None


def file_name(own: Serving) -> str:
    """One for each machine."""
    return f"{in_file_names(name_machine(own.machine.model_dump()))}.json"


def tables(files: dict[str, Serving]) -> str:
    """All machines' tables in Markdown."""
    parts = [f"{_whose(own, name)}\n\n{_table(own)}" for name, own in files.items()]
    return "\n" + "\n".join(parts) if parts else NOT_YET


def _whose(own: Serving, name: str) -> str:
    machine, libraries = name_machine(own.machine.model_dump()), own.machine.libraries
    return (
        f"[{machine}]({SERVING.name}/{name}), `{own.checkpoint}`, {own.threads} threads, "
        f"openvino {libraries['openvino']}, {own.commit[:7]}, {own.date}:"
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


def with_tables(page: str, files: dict[str, Serving]) -> str:
    """A page whose tables between their marks are these. Raises InputError if the marks are not there."""
    if not TABLES.search(page):
        raise InputError(f"{PAGE} lacks the marks between which its tables of the server stand: restore them")
    return TABLES.sub(lambda _: tables(files), page)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where it was timed on this machine; none: only the tables")
    ] = None,
) -> None:
    """Writes this machine's file into reports/serving/ if the server was timed, and the tables."""
    files = read_kept(SERVING, Serving, "load test")
    if checkout:
        own = gather(checkout)
        files = dict(sorted((files | {file_name(own): own}).items()))
    page = with_tables(read_text(PAGE), files)
    for name, kept in files.items():
        write_metrics(kept.model_dump(mode="json", exclude_none=True), SERVING / name)
    write_text(page, PAGE)


if __name__ == "__main__":
    run(main)
