"""Whose figures a file of `reports/` holds: of which model, on which pictures, with which settings and code, where.

Such files lie beside each other, are taken over from other runs and stay when their variant is gone. So each says it.
What is compared are digests of what a stage of dvc.yaml depends on anyway, so they agree wherever `dvc repro` is done.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pathspec import GitIgnoreSpec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.captioner.checkpoint import read_manifest, sha256
from stages.captioner.command_line import InputError, explain
from stages.records.machine import name_machine
from stages.setup.params import Name, Params

KEY = "provenance"  # in a JSON file of figures
CODE = Path(__file__).parents[2]
MADE_BY = ("download", "dataset", "optimize", "evaluate", "benchmark")  # stages of dvc.yaml: the figures of a variant
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Provenance(BaseModel):
    """Whose figures these are. What they don't hang on is absent, such as pictures from what a machine does at best."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Name | None = Field(None, description="the key in `models` of params.yaml")
    weights: Digest | None = Field(None, description="of the unchanged model's files")
    pictures: Digest | None = Field(None, description="of those that are evaluated on, and their captions")
    settings: Digest = Field(description="of what params.yaml says of such figures; see who writes them")
    code: Digest = Field(description="of the modules that dvc.yaml names for the stages that make such figures")
    machine: str = Field(max_length=200, description="in few letters")
    host: Digest = Field(description="of all that host.json says of the machine, its system and its libraries")


# How a difference is called, in the order in which people want to know it.
WORDS = {
    "model": "another model",
    "weights": "another model's weights",
    "pictures": "other pictures",
    "settings": "other settings",
    "code": "other code",
    "machine": "another machine",
    "host": "other versions of a system or library",
}


def where_and_how(settings: object, machine: dict[str, Any], *stages: str) -> dict[str, str]:
    """The fields that all figures have: `machine` is what `describe_machine` says, `stages` are keys of dvc.yaml."""
    return {
        "settings": digest(settings),
        "code": digest_code(*stages),
        "machine": name_machine(machine),
        "host": digest(machine),
    }


def of_what(model: str, baseline: Path, pictures: Path) -> dict[str, str]:
    """The fields of figures of checkpoints: the model's key in params.yaml, its checkpoint, the evaluation pictures."""
    files = read_manifest(baseline).files
    return {
        "model": model,
        "weights": digest({name: record.sha256 for name, record in files.items()}),
        "pictures": digest_folder(pictures),
    }


def of_quality(params: Params, recipe: dict[str, Any], what: dict[str, str], machine: dict[str, Any]) -> Provenance:
    """Whose the figures of captions are of a checkpoint of this recipe; `what` is of `of_what`."""
    settings = params.model_dump(mode="json", include={"decoding", "evaluation"})
    settings |= {"throughput_batch": params.benchmark.throughput_batch, "recipe": recipe}
    return Provenance(**what, **where_and_how(settings, machine, "evaluate"))


def of_times(params: Params, recipe: dict[str, Any], what: dict[str, str], machine: dict[str, Any]) -> Provenance:
    """Whose the times of such a checkpoint are."""
    settings = params.model_dump(mode="json", include={"decoding", "benchmark"})
    settings |= params.chosen_model().model_dump(mode="json", include={"speedup_within", "benchmark_seconds"})
    return Provenance(**what, **where_and_how(settings | {"recipe": recipe}, machine, "benchmark"))


def of_final(params: Params, contenders: dict[str, str], what: dict[str, str], machine: dict[str, Any]) -> Provenance:
    """Whose the times of contenders are, which are named with the digests of their checkpoints."""
    settings = params.model_dump(mode="json", include={"decoding", "benchmark"})
    settings |= params.chosen_model().model_dump(mode="json", include={"benchmark_seconds"})
    return Provenance(**what, **where_and_how(settings | {"contenders": contenders}, machine, "final"))


def of_run(settings: object, what: dict[str, str], machine: dict[str, Any]) -> Provenance:
    """Whose figures of several checkpoints are, made of the model and the pictures by every stage that makes such."""
    return Provenance(**what, **where_and_how(settings, machine, *MADE_BY))


def of_peaks(params: Params, machine: dict[str, Any]) -> Provenance:
    """Whose the figures of what a machine can do at best are, which hang on no model."""
    return Provenance(**where_and_how(params.benchmark.threads, machine, "peaks"))


def digest(content: object) -> str:
    """Of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def digest_folder(folder: Path) -> str:
    """Of all files' names and contents."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([(path.relative_to(folder).as_posix(), sha256(path)) for path in files])


@cache
def digest_code(*stages: str, project: Path = CODE) -> str:
    """Of the modules that dvc.yaml names as these stages' dependencies, without what .dvcignore leaves out."""
    declared = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    ignored = GitIgnoreSpec.from_lines((project / ".dvcignore").read_text(encoding="utf-8").splitlines())
    named = {own for name in stages for own in declared[name].get("do", declared[name])["deps"]}
    paths = [project / own for own in named if own.startswith("stages/")]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    names = sorted(file.relative_to(project).as_posix() for file in files)
    return digest([(name, sha256(project / name)) for name in names if not ignored.match_file(name)])


def differences(own: Provenance, other: Provenance, *ignored: str) -> list[str]:
    """In words what two differ in, of the fields that both have; none if the figures belong together."""
    return [
        words
        for field, words in WORDS.items()
        if field not in ignored
        and None not in (given := (getattr(own, field), getattr(other, field)))
        and given[0] != given[1]
    ]


def take_provenance(figures: dict[str, Any], path: Path) -> Provenance:
    """Takes whose they are out of the figures of a file. Raises InputError if it doesn't say so, or not rightly."""
    try:
        return Provenance.model_validate(figures.pop(KEY, {}))
    except ValidationError as error:
        raise InputError(f"{path} doesn't say whose figures it holds ({explain(error)}): run `dvc repro`") from None
