"""Full-size times of one machine each, in `reports/machines/`, and README.md's table of them all.

`make machine` times the full-size model and adds this machine; without an argument, only the table is made anew.
"""

import hashlib
import json
import re
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError, explain, read_text, run
from stages.measure.machine import describe_machine
from stages.measure.metrics import REPORTS, read_metrics, write_metrics, write_text
from stages.page.one_run import stages_to_rerun
from stages.params import PARAMS, Name, read_params

MACHINES, README = REPORTS / "machines", Path("README.md")
MODEL, SIZE = "blip-base-untrained", "blip-base"
# What decides about times and is in Git; of params.yaml, the chosen model may differ from the commit's.
MEASURED_BY = ("stages", "dvc.yaml", "requirements.txt")
TABLE = re.compile(r"(?<=<!-- machines: made by `make machine` -->\n\n).*?(?=\n<!-- end of machines -->)", re.DOTALL)
AGAIN = "time it with `make machine`"

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

    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    date: date
    threads: int = Field(ge=1, description="of each timed process")
    new_tokens: Literal[10]  # for only captions of one length can be compared
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
    if differing := [key for key in here if host.get(key) != here[key]]:
        raise InputError(
            f"the reports in {checkout} are of another machine or other versions, for {differing[0]} was "
            f"{host.get(differing[0])} and is {here[differing[0]]}: {AGAIN}"
        )
    params = read_params(checkout / PARAMS)
    figures = {
        name: read_metrics(checkout / REPORTS / "benchmark" / f"{name}.json")
        for name in (BASELINE.name, *params.variants)
    }
    content = {
        "commit": _git(checkout, "rev-parse", "HEAD").strip(),
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
        return Machine.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"the reports in {checkout} can't stand beside others ({explain(error)}): put that right and {AGAIN}"
        ) from None


def _check_one_run(checkout: Path) -> None:
    """By DVC's own records: benchmarks of these very checkpoints, with this code and these settings, on that host."""
    if changed := stages_to_rerun(checkout, ["benchmark_baseline", "benchmark"]):
        raise InputError(
            f"the reports in {checkout} do not belong together, as {changed[0]} would have to run again: {AGAIN}"
        )


def _check_committed(checkout: Path) -> None:
    settings = [
        yaml.safe_load(text) | {"model": MODEL}
        for text in (_git(checkout, "show", f"HEAD:{PARAMS}"), read_text(checkout / PARAMS))
    ]
    if settings[0] != settings[1] or _git(checkout, "status", "--porcelain", "--", *MEASURED_BY):
        raise InputError(f"{checkout} holds changes that its commit, which would be named, lacks: commit them; {AGAIN}")


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True).stdout


def read_machines(folder: Path) -> dict[str, Machine]:
    """All machines by their files' names, sorted. Raises InputError at a file that is not what `gather` would give."""
    machines: dict[str, Machine] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            machines[path.name] = Machine.model_validate_json(read_text(path))
        except ValidationError as error:
            raise InputError(f"{path} is not a machine's figures ({explain(error)}): correct it") from None
        if path.name != (name := file_name(machines[path.name])):
            raise InputError(f"{path} is named as another machine's: rename it to {name}")
    return machines


def table(machines: dict[str, Machine]) -> str:
    """A Markdown table with a row per machine and a column per checkpoint, the one that can be fastest last."""
    best: dict[str, float] = {}
    for own in machines.values():
        for checkpoint, figures in own.checkpoints.items():
            best[checkpoint] = max(best.get(checkpoint, 0), figures.speedup)
    checkpoints = sorted(best, key=lambda checkpoint: (checkpoint != BASELINE.name, best[checkpoint]))
    headings = ["CPU, family/model/stepping", "instruction sets", "threads", *checkpoints, "code"]
    rows = [
        [
            f"[{own.machine.cpu} {own.machine.cpu_family_model_stepping}]({(MACHINES / name).as_posix()})",
            ", ".join(own.machine.instruction_sets),
            str(own.threads),
            *(_cell(own.checkpoints.get(checkpoint)) for checkpoint in checkpoints),
            f"{own.commit[:7]}, {own.date}",
        ]
        for name, own in machines.items()
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, ["---"] * len(headings), *rows))


def _cell(figures: Figures | None) -> str:
    if figures is None:
        return "–"
    latency = f", {figures.latency_ms / 1000:.2f} s" if figures.latency_ms else ""
    return f"**{figures.speedup:.2f}** ({figures.speedup_ci_low:.2f}–{figures.speedup_ci_high:.2f}){latency}"


def with_table(page: str, table: str) -> str:
    """A page whose table between the two markers is replaced. Raises InputError if they are not there."""
    if not TABLE.search(page):
        raise InputError(f"{README} lacks the marks between which the table of machines stands: restore them")
    return TABLE.sub(lambda _: table, page)


def main(
    checkout: Annotated[
        Path | None, typer.Argument(help="where the full-size model was timed on this machine; none: only the table")
    ] = None,
) -> None:
    """Writes this machine's file into reports/machines/ if it was timed, and README.md's table of all machines."""
    machines = read_machines(MACHINES)
    added = [gather(checkout)] if checkout else []
    machines |= {file_name(own): own for own in added}
    page = with_table(read_text(README), table(dict(sorted(machines.items()))))
    for own in added:
        write_metrics(own.model_dump(mode="json", exclude_none=True), MACHINES / file_name(own))
    write_text(page, README)


if __name__ == "__main__":
    run(main)
