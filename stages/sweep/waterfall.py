"""What each part of a recipe brings: `make waterfall` times and scores a variant that grows by one key after the other.

In a clone of the last commit, so that this checkout keeps its own checkpoints and reports.
"""

import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from dvc.utils.serialize import modify_yaml
from openvino import Core
from safetensors import safe_open

from stages.captioner.checkpoint import BASELINE, MODELS, WEIGHTS, read_manifest
from stages.captioner.command_line import InputError, run
from stages.records.machine import describe_machine, name_machine
from stages.records.metrics import REPORTS, read_metrics
from stages.setup.params import PARAMS, Recipe, read_params

# What a recipe says of the engine comes first, then what leaves less to compute.
ENGINE = (("runtime",), ("equalize", "quantize"))
LESS = ("side", "tokens", "shorten", "prune", "vocabulary")
WORDS = 10
HEADINGS = ["", "times as fast", "a caption", "the picture", "a further word", "memory", "multiply-adds", "parameters"]
HEADINGS += ["on disk", "CIDEr"]


def steps(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe's own parts, one more in each step, by names for variants. Raises InputError if it is of one part."""
    own = recipe.model_dump(exclude_defaults=True)
    found: dict[str, Recipe] = {}
    grown: dict[str, Any] = {}
    for keys in (*ENGINE, *((key,) for key in LESS)):
        if added := {key: own[key] for key in keys if key in own}:
            grown |= added
            found[f"step{len(found) + 1}_{keys[-1]}"] = Recipe.model_validate(grown)
    if len(found) < 2:
        raise InputError("a recipe of one part has no steps: name a variant with several")
    return found


def measure(checkout: Path, names: list[str]) -> None:
    """Makes, scores and times checkpoints, as a checkout's params.yaml has them. Raises InputError if DVC fails."""
    stages = [f"{stage}@{name}" for name in names for stage in ("evaluate", "benchmark")]
    command = [sys.executable, "-m", "dvc", "repro", "benchmark_baseline", *stages]
    if subprocess.run(command, cwd=checkout, check=False).returncode:
        raise InputError("a stage failed, see above: correct that, and run this again")


def row(checkout: Path, name: str, title: str) -> list[str]:
    """A checkpoint's cells, as HEADINGS name them; what is not known is a dash."""
    times, quality = (read_metrics(checkout / REPORTS / part / f"{name}.json") for part in ("benchmark", "quality"))
    macs = times["encode_macs"] + times["prefill_macs"] + (WORDS - 1) * times["token_macs"]
    cider = "–"
    if "cider_change_share" in quality:
        change = [quality[f"cider_change_share{end}"] for end in ("", "_ci_low", "_ci_high")]
        cider = "{:+.1%} ({:+.1%} to {:+.1%})".format(*change).replace("-", "−")
    memory = times.get("peak_memory_mb")
    return [
        title,
        "{:.2f} ({:.2f}–{:.2f})".format(*(times[f"speedup{end}"] for end in ("", "_ci_low", "_ci_high"))),
        f"{times['latency_ms']:.1f} ms" if "latency_ms" in times else "–",
        f"{times['encode_ms']:.1f} ms",
        f"{times['token_ms']:.2f} ms",
        f"{memory:.0f} MB" if memory else "–",
        f"{macs / 1e9:.2f} G",
        f"{parameters(checkout / MODELS / name) / 1e6:.1f} M",
        f"{times['checkpoint_mb']:.1f} MB",
        cider,
    ]


def parameters(checkpoint: Path) -> int:
    """How many numbers the matrices of a checkpoint have, of PyTorch or OpenVINO."""
    runtime = read_manifest(checkpoint).runtime
    if runtime == "pytorch":
        with safe_open(checkpoint / WEIGHTS, framework="np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    elif runtime == "openvino":
        core = Core()
        operators = [own for path in sorted(checkpoint.glob("*.xml")) for own in core.read_model(path).get_ops()]
        shapes = [own.output(0).shape for own in operators if own.get_type_name() == "Constant"]
    else:
        raise InputError(f"the parameters of {checkpoint} can't be counted: name a variant of pytorch or openvino")
    return sum(prod(shape) for shape in shapes if sum(side > 1 for side in shape) > 1)


def main(
    checkout: Annotated[Path, typer.Argument(help="a clone of this project, which will be changed")],
    variant: Annotated[str, typer.Argument(help="whose recipe is taken apart")],
    model: Annotated[str, typer.Argument(help="an entry of models in params.yaml")],
) -> None:
    """Times and scores the steps of a recipe, and prints them as a table in Markdown."""
    params = read_params(checkout / PARAMS)
    found = steps(params.recipe(variant))
    with modify_yaml(checkout / PARAMS) as document:
        document["model"] = model
        document["variants"] = {
            name: recipe.model_dump(mode="json", exclude_defaults=True) for name, recipe in found.items()
        }
    read_params(checkout / PARAMS)
    measure(checkout, list(found))
    titles = {BASELINE.name: "baseline"}
    before: dict[str, Any] = {}
    for name, recipe in found.items():
        own = recipe.model_dump(mode="json", exclude_defaults=True)
        titles[name] = ", ".join(f"`{key}: {_plain(value)}`" for key, value in own.items() if key not in before)
        before = own
    rows = [row(checkout, name, title) for name, title in titles.items()]
    print(f"\n{model} on {name_machine(describe_machine())}, each step with all those before:\n")
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *rows):
        print(f"| {' | '.join(cells)} |")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(own)}" for key, own in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run(main)
