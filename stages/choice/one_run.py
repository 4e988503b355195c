"""Whether figures belong to what lies beside them: by what they say themselves, and by DVC's own records."""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError
from stages.records.final import CONTENDERS, FINAL, Final
from stages.records.metrics import Metrics, read_metrics
from stages.records.provenance import (
    Provenance,
    differences,
    of_final,
    of_peaks,
    of_quality,
    of_run,
    of_times,
    of_what,
    take_provenance,
)
from stages.setup.params import Params

AGAIN = "run `dvc repro`"
# Captions are scored once for all machines, so that a colleague scores none again.
OF_ANY_MACHINE = ("machine", "host")


class Checkpoints(NamedTuple):
    """The figures of checkpoints of one model, on its pictures, with these settings and this code, on one machine."""

    metrics: Metrics
    what: dict[str, str]  # of `of_what`
    machine: dict[str, Any]  # what host.json says
    scored_on: set[str]  # the machines that captions were scored on


class OneRun(NamedTuple):
    """All that one run found out."""

    provenance: Provenance
    metrics: Metrics
    peaks: dict[str, Any]
    final: Final
    machine: dict[str, Any]
    scored_on: list[str]  # other machines, if captions were scored there


def gather_checkpoints(checkpoints: list[str], params: Params, pictures: Path, reports: Path) -> Checkpoints:
    """The figures of these checkpoints of the model that params.yaml chooses.

    Raises InputError if some are not there, or are of something else: of another model, or of other pictures, settings
    or code than what is here, or timed on another machine than host.json's.
    """
    check_model(params, BASELINE)
    machine = _read_json(reports / "host.json")
    what = of_what(params.model, BASELINE, pictures)
    metrics: Metrics = {}
    scored_on = set()
    for name in checkpoints:
        recipe = recipe_of(params, name)
        quality, own = _read(reports / "quality" / f"{name}.json", of_quality(params, recipe, what, machine))
        times, _ = _read(reports / "benchmark" / f"{name}.json", of_times(params, recipe, what, machine))
        metrics[name] = {"benchmark": times, "quality": quality}
        scored_on.add(own.machine)
    return Checkpoints(metrics, what, machine, scored_on)


def gather(checkpoints: list[str], params: Params, pictures: Path, reports: Path) -> OneRun:
    """The figures of these checkpoints, of the machine and of the final; raises InputError as `gather_checkpoints`."""
    metrics, what, machine, scored_on = gather_checkpoints(checkpoints, params, pictures, reports)
    peaks, _ = _read(reports / "peaks.json", of_peaks(params, machine))
    contenders = _read_json(reports / CONTENDERS.name)
    final, _ = _read(reports / FINAL.name, of_final(params, contenders, what, machine))
    settings = params.model_dump(mode="json", exclude={"model", "models", "search", "demo_training"})
    provenance = of_run(settings, what, machine)
    elsewhere = sorted(scored_on - {provenance.machine})
    return OneRun(provenance, metrics, peaks, Final.model_validate(final), machine, elsewhere)


def recipe_of(params: Params, checkpoint: str) -> dict[str, Any]:
    """A checkpoint's recipe as its manifest has it; the baseline has none."""
    recipe = params.variants.get(checkpoint)
    return recipe.model_dump(mode="json", exclude_defaults=True) if recipe else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_metrics(path)
    except FileNotFoundError:
        raise InputError(f"there is no {path}: make it with `dvc repro`") from None
    except ValueError:  # JSON's own
        raise InputError(f"{path} is not valid JSON: {AGAIN}") from None


def _read(path: Path, expected: Provenance) -> tuple[dict[str, Any], Provenance]:
    figures = _read_json(path)
    own = take_provenance(figures, path)
    if differing := differences(own, expected, *(OF_ANY_MACHINE if path.parent.name == "quality" else ())):
        of = f"{own.model} on {own.machine}" if own.model else own.machine
        raise InputError(f"{path} is of another run ({of}), which had {' and '.join(differing)}: {AGAIN}")
    return figures, own


def check_model(params: Params, checkpoint: Path) -> None:
    """That a checkpoint was made of the model that params.yaml chooses. Raises InputError if not."""
    source = params.chosen_model().source.model_dump(mode="json", exclude_none=True)
    if (origin := read_manifest(checkpoint).origin) != source:
        made_of, chosen = (" ".join(map(str, own.values())) for own in (origin, source))
        raise InputError(
            f"{checkpoint} was made of another model ({made_of}) than params.yaml chooses ({chosen}): {AGAIN}"
        )


def left_over(checkpoints: Collection[str], reports: Path) -> list[Path]:
    """Figures of what params.yaml has no longer, such as of a variant that was renamed, sorted."""
    files = [path for part in ("benchmark", "quality") for path in (reports / part).glob("*.*")]
    return sorted(path for path in files if path.suffix in (".json", ".csv") and path.stem not in checkpoints)


def check_up_to_date(variants: list[str], checkout: Path = Path()) -> None:
    """That DVC would run nothing again to have these variants' figures. Raises InputError if it would."""
    each = [f"{stage}@{name}" for name in variants for stage in ("optimize", "evaluate", "benchmark")]
    if changed := stages_to_rerun(checkout, ["download", "dataset", "evaluate_baseline", "benchmark_baseline", *each]):
        raise InputError(f"the reports are not of what is here, as {changed[0]} would have to run again: {AGAIN}")


def stages_to_rerun(checkout: Path, stages: list[str]) -> list[str]:
    """Of these stages, sorted, those whose code, settings, inputs or outputs are not what they were when they last ran.

    Raises InputError if the folder is no checkout of this project, or its dvc.yaml has no such stage.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json", *stages]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}  # which DVC would send from where it finds no project
    process = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"DVC can't tell the state of {checkout}: run this in a checkout of this project")
    return sorted(json.loads(process.stdout))
