"""What each part of a recipe brings: `make waterfall` times and scores a variant that grows by one key after the other.

In a clone of the last commit, so that this checkout keeps its own checkpoints and reports; what was found is kept here,
in reports/waterfalls.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer
from dvc.utils.serialize import modify_yaml
from openvino import Core
from pydantic import ValidationError
from safetensors import safe_open

from stages.captioner.checkpoint import BASELINE, MODELS, WEIGHTS, read_manifest
from stages.captioner.command_line import InputError, explain, run
from stages.page.kept import settings_of
from stages.page.waterfalls import COLUMNS, WATERFALLS, Step, Waterfall, waterfall_table
from stages.page.words import ENDS
from stages.records.examples import PICTURES
from stages.records.machine import caps_of, in_file_names
from stages.records.metrics import REPORTS, read_metrics, write_metrics
from stages.records.provenance import MADE_BY, Provenance, differences, digest_code, of_run, take_provenance
from stages.setup.params import PARAMS, Params, Recipe, in_flow_style, read_params

# What a recipe says of the engine comes first, then what leaves less to compute.
ENGINE = (("runtime",), ("equalize", "quantize"))
LESS = ("side", "tokens", "shorten", "prune", "vocabulary", "recover")
FEWER_BITS = "decoder_weight_bits"  # of `quantize`, and a step of its own
WORDS = 10
PACKED = "MatMulNBits"  # ONNX Runtime's product whose weights lie in blocks


def steps(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe's own parts, one more in each step, by names for variants. Raises InputError if it is of one part."""
    own = recipe.model_dump(exclude_defaults=True)
    if bits := own.get("quantize", {}).pop(FEWER_BITS, None):
        own[FEWER_BITS] = {"quantize": own["quantize"] | {FEWER_BITS: bits}}
    found: dict[str, Recipe] = {}
    grown: dict[str, Any] = {}
    for keys in (*ENGINE, *((key,) for key in LESS), (FEWER_BITS,)):
        if added := {key: own[key] for key in keys if key in own}:
            grown |= added.get(FEWER_BITS, added)
            found[f"step{len(found) + 1}_{keys[-1]}"] = Recipe.model_validate(grown)
    if len(found) < 2:
        raise InputError("a recipe of one part has no steps: name a variant with several")
    return found


def added_parts(found: Mapping[str, Recipe]) -> dict[str, list[str]]:
    """What each step has that the one before lacks, as params.yaml has it; the baseline, which comes first, nothing."""
    parts: dict[str, list[str]] = {BASELINE.name: []}
    before: dict[str, Any] = {}
    for name, recipe in found.items():
        own = recipe.model_dump(mode="json", exclude_defaults=True)
        parts[name] = [
            f"{key}: {in_flow_style(_new(value, before.get(key)))}"
            for key, value in own.items()
            if value != before.get(key)
        ]
        before = own
    return parts


def _new(value: Any, before: Any) -> Any:
    """A value of a recipe, or of a mapping that had some before, what it didn't have."""
    return {key: own for key, own in value.items() if before.get(key) != own} if isinstance(before, dict) else value


def check_caps(recipe: Recipe, environment: Mapping[str, str]) -> None:
    """Raises InputError if instruction sets are capped by variables that the recipe's engine doesn't know."""
    if recipe.runtime == "onnxruntime" and (caps := caps_of(environment)):
        raise InputError(
            f"{', '.join(caps)} would keep the baseline from instruction sets and not ONNX Runtime, which knows no "
            "such variable: unset that, or name a variant of another engine"
        )


def measure(checkout: Path, names: Sequence[str]) -> None:
    """Makes, scores and times checkpoints, as a checkout's params.yaml has them. Raises InputError if DVC fails."""
    stages = [f"{stage}@{name}" for name in names for stage in ("evaluate", "benchmark")]
    command = [sys.executable, "-m", "dvc", "repro", "benchmark_baseline", *stages]
    if subprocess.run(command, cwd=checkout, check=False).returncode:
        raise InputError("a stage failed, see above: correct that, and run this again")


def gather(checkout: Path, variant: str, params: Params, parts: Mapping[str, list[str]]) -> Waterfall:
    """What was measured in a checkout of a variant's steps, named with the parts that each adds.

    `params` is what the checkout's params.yaml said before the steps were put into it. Raises InputError if a figure is
    not of that one run.
    """
    machine, pictures = read_metrics(checkout / REPORTS / "host.json"), read_metrics(checkout / PICTURES)
    path = checkout / REPORTS / "benchmark" / f"{BASELINE.name}.json"
    what = take_provenance(read_metrics(path), path).model_dump(include={"model", "weights", "pictures"})
    run_here = of_run(settings_of([variant], params, pictures), what, machine)
    # The clone's code is what ran, whatever was changed here since the last commit.
    whose = run_here.model_copy(update={"code": digest_code(*MADE_BY, project=checkout.absolute())})
    found = [step(checkout, name, added, whose) for name, added in parts.items()]
    return Waterfall(variant=variant, steps=found, provenance=whose)


def step(checkout: Path, name: str, added: list[str], whose: Provenance) -> Step:
    """A checkpoint's figures with their intervals. Raises InputError if they are not its owner's, or not numbers."""
    paths = [checkout / REPORTS / part / f"{name}.json" for part in ("benchmark", "quality")]
    times, quality = (read_metrics(path) for path in paths)
    for path, figures in zip(paths, (times, quality), strict=True):
        if differing := differences(take_provenance(figures, path), whose, "settings", "code"):
            raise InputError(f"{path} is of another run, with {' and '.join(differing)}: run this again")
    macs = times["encode_macs"] + times["prefill_macs"] + (WORDS - 1) * times["token_macs"]
    known = quality | times | {"caption_gmacs": macs / 1e9, "parameters_m": parameters(checkout / MODELS / name) / 1e6}
    keys = [f"{column}{end}" for column in COLUMNS for end in ("", *ENDS)]
    own = {key: known[key] for key in keys if key in known}
    try:
        return Step.model_validate({"checkpoint": name, "added": added} | own)
    except ValidationError as error:
        raise InputError(f"the figures of {name} can't be used ({explain(error)}): run this again") from None


def parameters(checkpoint: Path) -> int:
    """How many numbers the matrices of a checkpoint have, however they are packed and without their scales."""
    runtime = read_manifest(checkpoint).runtime
    if runtime == "pytorch":
        with safe_open(checkpoint / WEIGHTS, framework="np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    elif runtime == "openvino":
        core = Core()
        operators = [own for path in sorted(checkpoint.glob("*.xml")) for own in core.read_model(path).get_ops()]
        shapes = [own.output(0).shape for own in operators if own.get_type_name() == "Constant"]
    else:
        shapes = [shape for path in sorted(checkpoint.glob("*.onnx")) for shape in _shapes_in_onnx(path)]
    return sum(prod(shape) for shape in shapes if sum(side > 1 for side in shape) > 1)


def _shapes_in_onnx(path: Path) -> list[Sequence[int]]:
    """Those of a graph's weights, which stay on disk; of packed ones, the sides that their product names."""
    graph = onnx.load(path, load_external_data=False).graph
    products = [node for node in graph.node if node.op_type == PACKED]
    sides = [{own.name: own.i for own in node.attribute} for node in products]
    packed = {name for node in products for name in node.input[1:]}
    plain = [tensor.dims for tensor in graph.initializer if tensor.name not in packed]
    return [*plain, *((own["N"], own["K"]) for own in sides)]


def file_name(own: Waterfall) -> str:
    """One for each model, variant and machine; none of these has a dot."""
    return f"{own.provenance.model}.{own.variant}.{in_file_names(own.provenance.machine)}.json"


def main(
    checkout: Annotated[Path, typer.Argument(help="a clone of this project, which will be changed")],
    variant: Annotated[str, typer.Argument(help="whose recipe is taken apart")],
    model: Annotated[str, typer.Argument(help="an entry of models in params.yaml")],
) -> None:
    """Times and scores the steps of a recipe, writes them into reports/waterfalls and prints them as a table."""
    params = read_params(checkout / PARAMS).model_copy(update={"model": model})
    recipe = params.recipe(variant)
    check_caps(recipe, os.environ)
    found = steps(recipe)
    with modify_yaml(checkout / PARAMS) as document:
        document["model"] = model
        document["variants"] = {
            name: recipe.model_dump(mode="json", exclude_defaults=True) for name, recipe in found.items()
        }
    read_params(checkout / PARAMS)
    measure(checkout, list(found))
    own = gather(checkout, variant, params, added_parts(found))
    path = WATERFALLS / file_name(own)
    write_metrics(own.model_dump(mode="json", exclude_none=True), path)
    print(f"\n{own.whose()}, each step with all those before:\n\n{waterfall_table(own)}\nwritten: {path}")


if __name__ == "__main__":
    run(main)
