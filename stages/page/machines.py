"""Full-size times of one machine each, in `reports/machines/`, and the tables of them: all machines in
`reports/README.md`, one of them on README.md's first screen.

`make machine` times the full-size model and adds this machine; without an argument, only the tables are made anew.
"""

import hashlib
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError, explain, read_text, run
from stages.choice.one_run import stages_to_rerun
from stages.page import markdown
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, read_metrics, write_metrics, write_text
from stages.setup.params import PARAMS, Name, parse_yaml, read_params
from stages.sweep.checkout import git
from stages.timing.statistics import SPEEDUP_RULE, estimate_speedup, sessions_of

MACHINES = REPORTS / "machines"
ALL_MACHINES, FIRST_SCREEN = REPORTS / "README.md", Path("README.md")  # the pages with the tables
MODEL, SIZE = "blip-base-untrained", "blip-base"
# What decides about times and is in Git; of params.yaml, the chosen model may differ from the commit's.
MEASURED_BY = ("stages", "dvc.yaml", "requirements.txt")
TABLE = re.compile(r"(?<=<!-- machines: made by `make machine` -->\n\n).*?(?=\n<!-- end of machines -->)", re.DOTALL)
# The table on the first screen, which names the file that it is made of, and what people call its checkpoints.
FIRST_TABLE = re.compile(
    r"(?<=<!-- made by `make machine` of )(?P<file>\S+)( -->\n\n).*?(?=\n<!-- end of the first table -->)", re.DOTALL
)
FIRST_ROWS = {
    "baseline": "BLIP as it comes, 32-bit numbers, PyTorch",
    "quantized": "`quantized`: 8-bit numbers, PyTorch",
    "onnx_int8": "`onnx_int8`: 8-bit numbers, ONNX Runtime",
    "openvino_int8": "`openvino_int8`: 8-bit numbers, OpenVINO",
    "fastest": "`fastest`: the same, and less to compute",
}
FIRST_HEADINGS = ["", "times as fast", "a caption takes", "memory", "on disk"]
AGAIN = "time it with `make machine`"
NO_MARKS = "lacks the marks between which its table of machines stands: restore them"

SYSTEM = r"[A-Za-z]+(?: \d+(?:\.\d+)*)?"
Word = Annotated[str, Field(pattern=r"^[\w.+-]{1,40}$")]
Positive = Annotated[float, Field(gt=0, lt=1e7, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figures(_Strict):
    """One checkpoint's times and memory, under the names that the benchmark gives them; what is not known is absent."""

    speedup: Positive
    speedup_ci_low: Positive
    speedup_ci_high: Positive
    speedup_sessions: list[Positive] | None = Field(
        None, min_length=2, max_length=1000, description="each session's, of which any rule makes the interval anew"
    )
    latency_ms: Positive | None = None
    encode_ms: Positive | None = None
    token_ms: Positive | None = None
    load_s: Positive | None = None
    load_speedup: Positive | None = None
    peak_memory_mb: Positive | None = None
    peak_memory_share: Positive | None = None
    checkpoint_mb: Positive | None = None

    @model_validator(mode="after")
    def _check_plausible(self) -> Self:
        if not self.speedup_ci_low <= self.speedup <= self.speedup_ci_high:
            raise ValueError("the speed-up is outside of its own interval")
        if self.latency_ms and max(self.encode_ms or 0, self.token_ms or 0) >= self.latency_ms:
            raise ValueError("a part of a caption takes no less than the whole")
        return self


class Fingerprint(_Strict):
    """What `describe_machine` says of a machine, in patterns that hold no path and no name of a user or a host."""

    cpu: str = Field(pattern=r"^\w[\w ()@.,+-]*( w/ [\w ]+)?$", max_length=80)
    cpu_family_model_stepping: str = Field(pattern=r"^(0x[\da-f]{1,4}|[\d?]+)/(0x[\da-f]{1,4}|[\d?]+)/[\d?]+$")
    instruction_sets: list[Word]
    cores: int = Field(ge=1)
    threads: int = Field(ge=1)
    usable_cores: int | None = Field(None, ge=1)
    memory_gb: int = Field(ge=1)
    operating_system: str = Field(pattern=f"^{SYSTEM}$")
    python: Word
    libraries: dict[Word, Word]


class Machine(_Strict):
    """A file of `reports/machines/`: full-size times of each checkpoint, where they were taken and by which code."""

    model: Literal["blip-base-untrained"]  # with the pictures and the settings that its commit's params.yaml has
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    date: date
    threads: int = Field(ge=1, description="of each timed process")
    new_tokens: Literal[10]  # for only captions of one length can be compared
    intervals: str = Field(pattern=r"^[\w ,.'-]{1,100}$", description="what those of the speed-ups are made by")
    machine: Fingerprint
    checkpoints: dict[Name, Figures] = Field(min_length=1)


def file_name(own: Machine) -> str:
    """The name of a machine's file: its CPU's, and a digest of all that makes it another machine."""
    software_and_usable = {"operating_system", "python", "libraries", "usable_cores"}
    hardware = own.machine.model_dump(exclude=software_and_usable) | {"timed_threads": own.threads}
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()
    cpu = f"{own.machine.cpu} {own.machine.cpu_family_model_stepping}".lower()
    return f"{re.sub(r'[^a-z0-9]+', '-', cpu).strip('-')}-{digest[:8]}.json"


def gather(checkout: Path) -> Machine:
    """What the full-size model's benchmark found on this machine, in a checkout of this project.

    Raises InputError if its reports are not all of that model, of this machine, of one run and of its commit's code.
    """
    _check_one_run(checkout)
    _check_committed(checkout)
    untrained = read_manifest(checkout / BASELINE).origin.get("untrained")
    if untrained != SIZE:
        raise InputError(f"the reports in {checkout} are of another model than {MODEL}: {AGAIN}")
    host, here = read_metrics(checkout / REPORTS / "host.json"), describe_machine()
    if caps := host.get("caps"):
        raise InputError(
            f"the reports in {checkout} are not of all that this machine can do, as {', '.join(caps)} kept engines "
            f"from instruction sets: unset that, and {AGAIN}"
        )
    if differing := [key for key in here if host.get(key) != here[key]]:
        raise InputError(
            f"the reports in {checkout} are of another machine or other versions, for {differing[0]} was "
            f"{host.get(differing[0])} and is {here[differing[0]]}: {AGAIN}"
        )
    params = read_params(checkout / PARAMS)
    figures = {
        name: read_metrics(checkout / REPORTS / "benchmark" / f"{name}.json")
        | {"speedup_sessions": _speedups(checkout / REPORTS / "benchmark" / f"{name}.csv")}
        for name in (BASELINE.name, *params.variants)
    }
    content = {
        "model": MODEL,
        "intervals": SPEEDUP_RULE,
        "commit": git(checkout, "rev-parse", "HEAD").decode().strip(),
        "date": datetime.now(UTC).date(),
        "threads": params.benchmark.threads,
        "new_tokens": params.benchmark.new_tokens,
        # A kernel's own version may be called after whoever built it.
        "machine": here | {"operating_system": re.sub(f"^({SYSTEM}).*", r"\1", here["operating_system"])},
        "checkpoints": {
            name: {key: own[key] for key in Figures.model_fields if key in own} for name, own in figures.items()
        },
    }
    try:
        return by_rule_in_force(Machine.model_validate(content))
    except ValidationError as error:
        raise InputError(
            f"the reports in {checkout} can't stand beside others ({explain(error)}): put that right and {AGAIN}"
        ) from None


def _speedups(samples: Path) -> list[float]:
    """Each session's speed-up, of the benchmark's pairs."""
    return [round(float(own), 4) for own in sessions_of(pd.read_csv(samples), "caption")["speedup"]]


def by_rule_in_force(own: Machine) -> Machine:
    """With the intervals of speed-ups made anew where the sessions are kept; else as it is, by its older rule."""
    sessions = {name: figures.speedup_sessions for name, figures in own.checkpoints.items()}
    content = own.model_dump()
    for name, speedups in sessions.items():
        if speedups:
            content["checkpoints"][name] |= estimate_speedup(speedups).entries("speedup", 3)
    if all(sessions.values()):
        content["intervals"] = SPEEDUP_RULE
    return Machine.model_validate(content)


def _check_one_run(checkout: Path) -> None:
    """By DVC's own records: benchmarks of these very checkpoints, with this code and these settings, on that host."""
    if changed := stages_to_rerun(checkout, ["benchmark_baseline", "benchmark"]):
        raise InputError(
            f"the reports in {checkout} do not belong together, as {changed[0]} would have to run again: {AGAIN}"
        )


def _check_committed(checkout: Path) -> None:
    settings = [
        parse_yaml(text, PARAMS) | {"model": MODEL}
        for text in (git(checkout, "show", f"HEAD:./{PARAMS}").decode(), read_text(checkout / PARAMS))
    ]
    if settings[0] != settings[1] or git(checkout, "status", "--porcelain", "--", *MEASURED_BY):
        raise InputError(f"{checkout} holds changes that its commit, which would be named, lacks: commit them; {AGAIN}")


def read_machines(folder: Path) -> dict[str, Machine]:
    """All machines by their files' names, sorted, their intervals by the rule in force where sessions are kept.

    Raises InputError at a file that is not what `gather` would give.
    """
    machines: dict[str, Machine] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            machines[path.name] = by_rule_in_force(Machine.model_validate_json(read_text(path)))
        except ValidationError as error:
            raise InputError(f"{path} is not a machine's figures ({explain(error)}): correct it") from None
        if path.name != (name := file_name(machines[path.name])):
            raise InputError(f"{path} is named as another machine's: rename it to {name}")
    return machines


def table(machines: dict[str, Machine]) -> str:
    """A Markdown table for `reports/`, with a row per machine and a column per checkpoint, the one that can be fastest
    last; below it, the rules of intervals that are not by the one in force."""
    best: dict[str, float] = {}
    for own in machines.values():
        for checkpoint, figures in own.checkpoints.items():
            best[checkpoint] = max(best.get(checkpoint, 0), figures.speedup)
    checkpoints = sorted(best, key=lambda checkpoint: (checkpoint != BASELINE.name, best[checkpoint]))
    headings = ["CPU, family/model/stepping", "instruction sets", "threads", *checkpoints, "code"]
    older = list(dict.fromkeys(own.intervals for own in machines.values() if own.intervals != SPEEDUP_RULE))
    rows = [
        [
            f"[{own.machine.cpu} {own.machine.cpu_family_model_stepping}]({MACHINES.name}/{name})",
            ", ".join(own.machine.instruction_sets),
            str(own.threads),
            *(_cell(own.checkpoints.get(checkpoint)) for checkpoint in checkpoints),
            f"{own.commit[:7]}, {own.date}{_mark(own.intervals, older)}",
        ]
        for name, own in machines.items()
    ]
    notes = [f"\n{_mark(rule, older).strip()} {_older(rule)}\n" for rule in older]
    return markdown.table(headings, rows) + "".join(notes)


def _mark(rule: str, older: list[str]) -> str:
    return f" ({older.index(rule) + 1})" if rule in older else ""


def _older(rule: str) -> str:
    return f"Intervals by an older rule ({rule}), which lacks what a whole run is off by: they are too narrow."


def first_table(own: Machine) -> str:
    """The Markdown table of one machine for who reads a first screen only."""
    found = {name: own.checkpoints[name] for name in FIRST_ROWS if name in own.checkpoints}
    fastest = max(found, key=lambda name: found[name].speedup, default=None)
    rows = []
    for name, figures in found.items():
        interval = markdown.estimate(figures.model_dump(), "speedup", 1)
        if name == BASELINE.name:
            interval = f"1 (noise: {figures.speedup_ci_low:.2f}–{figures.speedup_ci_high:.2f})"
        costs = [
            f"{value:.{digits}f} {unit}" if value else "–"
            for value, digits, unit in (
                (figures.latency_ms and figures.latency_ms / 1000, 2, "s"),
                (figures.peak_memory_mb, 0, "MB"),
                (figures.checkpoint_mb, 0, "MB"),
            )
        ]
        rows.append([FIRST_ROWS[name], f"**{interval}**" if name == fastest else interval, *costs])
    note = "" if own.intervals == SPEEDUP_RULE else f"\n{_older(own.intervals)}\n"
    return markdown.table(FIRST_HEADINGS, rows) + note


def _cell(figures: Figures | None) -> str:
    if figures is None:
        return "–"
    latency = f", {figures.latency_ms / 1000:.2f} s" if figures.latency_ms else ""
    value, _, interval = markdown.estimate(figures.model_dump(), "speedup").partition(" ")
    return f"**{value}** {interval}{latency}"


def with_table(page: str, machines: dict[str, Machine]) -> str:
    """A page whose table between its marks is that of all machines. Raises InputError if the marks are not there."""
    if not TABLE.search(page):
        raise InputError(f"{ALL_MACHINES} {NO_MARKS}")
    return TABLE.sub(lambda _: table(machines), page)


def with_first_table(page: str, machines: dict[str, Machine]) -> str:
    """A page whose table between its marks is that of the one machine that they name.

    Raises InputError if the marks are not there, or name no machine's file.
    """
    first = FIRST_TABLE.search(page)
    if not first:
        raise InputError(f"{FIRST_SCREEN} {NO_MARKS}")
    name = Path(first["file"]).name
    if name not in machines:
        raise InputError(
            f"{FIRST_SCREEN} has its first table of {first['file']}, which is not there: name another file"
        )
    return FIRST_TABLE.sub(lambda own: f"{own['file']}{own[2]}{first_table(machines[name])}", page)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where the full-size model was timed on this machine; none: only the tables")
    ] = None,
) -> None:
    """Writes this machine's file into reports/machines/ if it was timed, intervals of others by the rule in force where
    their sessions are kept, and the tables of both pages."""
    machines = read_machines(MACHINES)
    added = [gather(checkout)] if checkout else []
    machines |= {file_name(own): own for own in added}
    machines = dict(sorted(machines.items()))
    pages = {
        ALL_MACHINES: with_table(read_text(ALL_MACHINES), machines),
        FIRST_SCREEN: with_first_table(read_text(FIRST_SCREEN), machines),
    }
    for name, own in machines.items():
        write_metrics(own.model_dump(mode="json", exclude_none=True), MACHINES / name)
    for path, page in pages.items():
        write_text(page, path)


if __name__ == "__main__":
    run(main)
