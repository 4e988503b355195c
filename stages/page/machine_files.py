"""What a `make` command times in a clone of the last commit: kept in a folder of `reports/`, a file for each machine,
and shown in a part of `reports/README.md` that is made of these."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from stages.captioner.command_line import InputError, explain, read_text
from stages.page.kept import Kept, Strict, read_kept
from stages.page.machines import ALL_MACHINES, SYSTEM, Fingerprint
from stages.records.machine import in_file_names, name_machine
from stages.records.metrics import read_metrics, write_metrics, write_text
from stages.sweep.checkout import git

PAGE = ALL_MACHINES


class WithIntervals(Strict):
    """Figures, each within its own interval, as far as they have one."""

    @model_validator(mode="after")
    def _check_intervals(self) -> Self:
        figures = self.model_dump(exclude_none=True)
        for name, value in figures.items():
            low, high = (figures.get(f"{name}_ci_{end}", value) for end in ("low", "high"))
            if not low <= value <= high:
                raise ValueError(f"{name} is outside of its own interval")
        return self


class OfMachine(Kept):
    """A file of one machine: on which, when and by which code its figures were timed."""

    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    date: date
    new_tokens: Literal[10]
    machine: Fingerprint
    needed_libraries: ClassVar[tuple[str, ...]] = ()
    """What the page tells the versions of."""

    @model_validator(mode="after")
    def _check_libraries(self) -> Self:
        if missing := [library for library in self.needed_libraries if library not in self.machine.libraries]:
            raise ValueError(f"the machine's libraries lack {', '.join(missing)}")
        return self


Own = TypeVar("Own", bound=OfMachine)


class Timing(NamedTuple, Generic[Own]):
    """What a command times, and where it goes."""

    kind: type[Own]
    what: str
    """What people call one file of it, such as «comparison»."""
    command: str
    times: Path
    """What the command leaves in the clone."""
    folder: Path
    subject: str
    """What the page's part is of, in words."""
    part: Callable[[dict[str, Own]], str]
    """Makes that of all files, by their names."""


def gather(timing: Timing[Own], checkout: Path) -> Own:
    """What was timed in a clone of this project. Raises InputError if that can't stand beside others."""
    if not (checkout / timing.times).is_file():
        raise InputError(f"nothing was timed in {checkout}: run `{timing.command}`")
    found = read_metrics(checkout / timing.times)
    system = re.sub(f"^({SYSTEM}).*", r"\1", found["machine"]["operating_system"])
    content = found | {
        "commit": git(checkout, "rev-parse", "HEAD").decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": found["machine"] | {"operating_system": system},
    }
    try:
        return timing.kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(f"the times in {checkout} can't be kept ({explain(error)}): put that right") from None


def machine_of(own: OfMachine) -> str:
    """The machine in few letters."""
    return name_machine(own.machine.model_dump())


def libraries_of(own: OfMachine) -> str:
    """The libraries that its part of the page tells, with their versions."""
    return ", ".join(f"{library} {own.machine.libraries[library]}" for library in own.needed_libraries)


def file_name(own: OfMachine) -> str:
    """One for each machine."""
    return f"{in_file_names(machine_of(own))}.json"


def read_files(timing: Timing[Own]) -> dict[str, Own]:
    """All machines' files by their names, sorted. Raises InputError at one that is none."""
    return read_kept(timing.folder, timing.kind, timing.what)


def with_part(timing: Timing[Own], page: str, files: dict[str, Own]) -> str:
    """A page whose part between its marks is made of these files. Raises InputError if the marks are not there."""
    name = timing.folder.name
    begin, end = f"<!-- {name}: made by `{timing.command}` -->\n", f"\n<!-- end of {name} -->"
    between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    if not between.search(page):
        raise InputError(f"{PAGE} lacks the marks between which its tables of {timing.subject} stand: restore them")
    return between.sub(lambda _: timing.part(files), page)


def update(timing: Timing[Own], checkout: Path | None) -> None:
    """Makes the page's part anew, after adding this machine's file if a clone is given in which it was timed."""
    files = read_files(timing)
    if checkout:
        own = gather(timing, checkout)
        files = dict(sorted((files | {file_name(own): own}).items()))
    page = with_part(timing, read_text(PAGE), files)
    for name, kept in files.items():
        write_metrics(kept.model_dump(mode="json", exclude_none=True), timing.folder / name)
    write_text(page, PAGE)
