"""DVC stage `optimize@<variant>`: applies a variant's recipe to the baseline and writes the optimized checkpoint."""

import importlib
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import print

from stages.captioner.checkpoint import (
    BASELINE,
    MODELS,
    PROCESSOR_FILES,
    Manifest,
    read_manifest,
    replacing,
    seal,
    verify_files,
)
from stages.captioner.command_line import run
from stages.captioner.images import allow_large_pictures, open_image
from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.preprocessing import preprocess, read_preprocessing
from stages.captioner.runtimes.pytorch import load_model
from stages.measure.machine import library_versions
from stages.params import Recipe, read_params
from stages.passes import apply_recipe
from stages.pictures.examples import CALIBRATION, read_examples

# What decides the bytes and the results of a checkpoint.
LIBRARIES = {
    "pytorch": ("torch", "transformers"),
    "onnxruntime": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "openvino", "nncf"),
}

DEFAULT_DECODING = Decoding()
WEIGHTS = {
    "pytorch": "`model.safetensors` holds the weights as plain tensors.",
    "onnxruntime": "`encoder.onnx` runs once per picture, `decoder.onnx` once per token.",
    "openvino": "`encoder.xml` runs once per picture, `decoder.xml` once per token; weights are in the `.bin` files.",
}


def optimize(
    baseline: Path, recipe: Recipe, calibration: Path, output: Path, decoding: Decoding = DEFAULT_DECODING
) -> Manifest:
    """Writes the checkpoint that a recipe makes of a baseline checkpoint, and proves that it can be opened.

    `calibration` is a folder of pictures that give activations their ranges where a recipe asks for that; `decoding` is
    how the checkpoint captions where nobody asks for something else. The same arguments give the same bytes on the same
    kind of CPU.

    Raises InputError if the baseline is not a whole checkpoint.
    """
    source = read_manifest(baseline)
    verify_files(baseline, source)
    model = load_model(baseline)
    records = apply_recipe(model, recipe)
    images = [open_image(path) for path, _ in read_examples(calibration)]
    preprocessing = read_preprocessing(baseline)
    with replacing(output) as unfinished:
        _copy_configuration(baseline, unfinished)
        export = importlib.import_module(f"stages.export.{recipe.runtime}").export
        records |= export(model, recipe.quantize, [preprocess([image], preprocessing) for image in images], unfinished)
        manifest = Manifest(
            runtime=recipe.runtime,
            origin=source.origin,
            recipe=recipe.model_dump(mode="json", exclude_none=True),
            passes=records,
            libraries=library_versions(*LIBRARIES[recipe.runtime]),
            validated_on=instruction_sets(),
            decoding=decoding,
        )
        (unfinished / "README.md").write_text(model_card(output.name, manifest), encoding="utf-8")
        seal(unfinished, manifest)
        with open_captioner(unfinished) as captioner:
            captioner.caption(images[:1], Decoding(max_new_tokens=2))
    return manifest


def _copy_configuration(baseline: Path, output: Path) -> None:
    """Everything but the weights."""
    for name in ("config.json", *PROCESSOR_FILES):
        shutil.copyfile(baseline / name, output / name)


def model_card(name: str, manifest: Manifest) -> str:
    """The README.md of a checkpoint: what it is, where it came from, how to use it."""
    origin = ", ".join(f"{key} {value}" for key, value in manifest.origin.items())
    steps = [f"- {key}: {_in_words(given)}" for key, given in manifest.recipe.items()]
    libraries = ", ".join(f"{key} {value}" for key, value in manifest.libraries.items())
    return "\n".join(
        [
            f"# {name}",
            "",
            "A BLIP image captioning checkpoint, optimized for the CPU.",
            "",
            f"Made from: {origin}. The recipe:",
            "",
            *steps,
            "",
            f"Built with {libraries}, validated on a CPU with {', '.join(manifest.validated_on) or 'no extensions'}.",
            "Speed and quality, measured against the unchanged model, are in the project's `reports/report.md`.",
            f"{WEIGHTS[manifest.runtime]} `checkpoint.json` holds each file's size and SHA-256.",
            "",
            f"    python -m stages.caption --checkpoint models/{name} photo.jpg",
            "",
        ]
    )


def _in_words(given: dict[str, Any] | str) -> str:
    return ", ".join(f"{name} {value}" for name, value in given.items()) if isinstance(given, dict) else given


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml")]) -> None:
    """Builds models/VARIANT from models/baseline."""
    allow_large_pictures()
    params = read_params()
    manifest = optimize(BASELINE, params.recipe(variant), CALIBRATION, MODELS / variant, params.decoding)
    for name, record in manifest.passes.items():
        figures = {key: value for key, value in record.items() if not isinstance(value, dict)}
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    run(main)
