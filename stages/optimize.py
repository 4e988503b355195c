"""DVC stage `optimize@<variant>`: applies a variant's recipe to the baseline and writes the optimized checkpoint."""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import importlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from PIL import Image
from rich import print
from transformers import BlipForConditionalGeneration

from stages.captioner.checkpoint import (
    BASELINE,
    CARD,
    MODELS,
    PROCESSOR_FILES,
    Manifest,
    read_manifest,
    replacing,
    seal,
    verify_files,
)
from stages.captioner.command_line import InputError, run
from stages.captioner.images import allow_large_pictures, open_whole
from stages.captioner.inspection.configuration import CONFIGURATION
from stages.captioner.inspection.files import inspect_files
from stages.captioner.inspection.tokenizer import TOKENIZER
from stages.captioner.instruction_sets import instruction_sets, overflows
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import DRAFTS
from stages.captioner.runtimes.finite import check_captioner
from stages.captioner.runtimes.helpers import check_threads
from stages.captioner.runtimes.preprocessing import PREPROCESSOR, preprocess, read_preprocessing
from stages.captioner.runtimes.pytorch import load_model
from stages.captioner.runtimes.pytorch_int8 import runs_once_per_picture
from stages.captioner.runtimes.pytorch_merging import KEY, merged_patches
from stages.export.exporter import Exporter
from stages.passes import apply_recipe, four_bits, recover
from stages.passes.activations import Inputs, capture_inputs
from stages.passes.int8_error import layer_errors_db
from stages.passes.side import check as check_side
from stages.passes.side import resize_to
from stages.passes.vocabulary import needed_tokens
from stages.pictures.annotations import captions_of, to_tokens
from stages.records.examples import CALIBRATION, DRAFTED, read_examples
from stages.records.machine import library_versions
from stages.setup.params import Quantize, Recipe, Vocabulary, in_flow_style, read_params

# What decides the bytes and the results of a checkpoint.
LIBRARIES = {
    "pytorch": ("torch", "transformers"),
    "onnxruntime": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "openvino", "nncf"),
}

DEFAULT_DECODING = Decoding()
STATES = Path(".dvc/tmp/recover")  # which DVC and Git leave alone
WEIGHTS = {
    "pytorch": "`model.safetensors` holds the weights as plain tensors.",
    "onnxruntime": "`encoder.onnx` runs once per picture, `decoder.onnx` once per token.",
    "openvino": "`encoder.xml` runs once per picture, `decoder.xml` once per token; weights are in the `.bin` files.",
}


def optimize(
    baseline: Path,
    recipe: Recipe,
    calibration: Path,
    output: Path,
    decoding: Decoding = DEFAULT_DECODING,
    drafted: Path | None = None,
) -> Manifest:
    """Writes the checkpoint that a recipe makes of a baseline checkpoint, and proves that it can be opened.

    `calibration` is a folder of pictures that give activations their ranges where a recipe asks for that; `decoding` is
    how the checkpoint captions where nobody asks for something else; `drafted` holds captions to guess words from,
    which graphs do. The same arguments give the same bytes on the same kind of CPU.

    Raises InputError if the baseline is not a whole checkpoint, if a picture is cut off, if a captions file can't be
    read, if this CPU could not run the variant, or if what it computes is not finite.
    """
    if recipe.quantize and overflows(recipe.quantize.weight_bits):
        raise InputError(
            "products with weights of 8 bits overflow on this CPU, as it has no VNNI: use weight_bits: 7, or build "
            "the checkpoint where it is to run"
        )
    source = read_manifest(baseline)
    verify_files(baseline, source)
    inspect_files(baseline, source)
    model = load_model(baseline)
    images = [open_whole(path) for path, _ in read_examples(calibration)]
    if recipe.side:
        vision = model.config.vision_config
        check_side(recipe.side, vision.image_size, vision.patch_size)
    preprocessing = resize_to(read_preprocessing(baseline), recipe.side)
    pixels = [preprocess([image], preprocessing) for image in images]
    learned = recipe.recover is not None and source.trained  # captions of random weights have nothing to learn from
    lesson = _lesson(baseline, recipe, images, STATES / f"{output.name}.safetensors") if learned else None
    records = apply_recipe(model, recipe, pixels, _needed_tokens(baseline, recipe.vocabulary), lesson)
    inputs = capture_inputs(model, pixels)
    with replacing(output) as unfinished:
        _copy_configuration(baseline, recipe, model, unfinished)
        if drafted and recipe.runtime != "pytorch":
            shutil.copyfile(drafted, unfinished / DRAFTS)
        exporter = cast(Exporter, importlib.import_module(f"stages.export.{recipe.runtime}"))
        errors = _rounding_errors(model, recipe.quantize, exporter, inputs)
        in_float, in_int8 = list(errors.get("layers_in_float", ())), _not_in_4_bits(inputs, errors)
        if in_int4 := {name: inputs[name] for name in errors.get("int4_layers_db", ())}:
            four_bits.correct_biases(model, in_int4, exporter.BLOCK)
        records |= exporter.export(model, recipe.quantize, in_float, in_int8, pixels, unfinished)
        if recipe.quantize:
            records["quantize"] |= errors
        manifest = Manifest(
            runtime=recipe.runtime,
            origin=source.origin,
            recipe=recipe.model_dump(mode="json", exclude_defaults=True),
            passes=records,
            libraries=library_versions(*LIBRARIES[recipe.runtime]),
            validated_on=instruction_sets(),
            decoding=decoding,
        )
        (unfinished / CARD).write_text(model_card(output.name, manifest), encoding="utf-8")
        seal(unfinished, manifest)
        with open_captioner(unfinished) as captioner:
            check_captioner(captioner.parts, images[:1], output)
            captioner.caption(images[:1], Decoding(max_new_tokens=2))
    return manifest


def _needed_tokens(baseline: Path, vocabulary: Vocabulary | None) -> set[int]:
    """The tokens that a recipe keeps whatever the baseline says: those of single characters and of a captions file."""
    if vocabulary is None:
        return set()
    captions = captions_of(Path(vocabulary.captions)) if vocabulary.captions else []
    return needed_tokens(baseline / TOKENIZER, captions)


def _lesson(baseline: Path, recipe: Recipe, images: Sequence[Image.Image], state: Path) -> recover.Lesson:
    preprocessing = read_preprocessing(baseline)
    captions = recipe.recover and recipe.recover.captions
    texts = to_tokens(captions_of(Path(captions)), baseline / TOKENIZER) if captions else []
    pixels = [preprocess([image], preprocessing) for image in images]
    return recover.Lesson(load_model(baseline), pixels, texts, state)


def _rounding_errors(
    model: BlipForConditionalGeneration, quantize: Quantize | None, exporter: Exporter, inputs: Mapping[str, Inputs]
) -> dict[str, dict[str, float]]:
    """By how many decibels each layer's output is above the error of int8 activations: of those layers that the recipe
    leaves in float for it, and of those that become int8 all the same. Likewise of the decoder's layers above the error
    of 4 bits, if the recipe asks for these: of those that it leaves in 8, and of those with 4. A layer that shares a
    product with one that keeps more bits keeps as many.
    """
    if quantize is None:
        return {}
    least = -math.inf if quantize.float_below_db is None else quantize.float_below_db
    errors = layer_errors_db(model, inputs, exporter.bits(quantize), exporter.has_int8_activations)
    in_float, in_int8 = _split(errors, least, exporter)
    found = {"layers_in_float": in_float, "int8_layers_db": in_int8}
    if quantize.decoder_weight_bits == 4:
        chosen = {name: own for name, own in inputs.items() if _may_have_4_bits(name) and name not in in_float}
        in_int8, in_int4 = _split(four_bits.errors_db(model, chosen, exporter.BLOCK), least, exporter)
        found |= {"layers_in_int8": in_int8, "int4_layers_db": in_int4}
    return found


def _not_in_4_bits(layers: Iterable[str], errors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The layers of a decoder in 4 bits that keep 8."""
    if "int4_layers_db" not in errors:
        return []
    others = errors["int4_layers_db"].keys() | errors["layers_in_float"].keys()
    return [name for name in layers if name not in others and not runs_once_per_picture(name)]


def _may_have_4_bits(layer: str) -> bool:
    """A layer of the decoder that reads its weights at every word. What it says is left to 8 bits."""
    return layer.startswith("text_decoder.bert.") and not runs_once_per_picture(layer)


def _split(errors: Mapping[str, float], least: float, exporter: Exporter) -> tuple[dict[str, float], dict[str, float]]:
    """Those of which one in the same product is below a bound, and the others."""
    products = {exporter.product_of(name) for name, error in errors.items() if error < least}
    below = {name: error for name, error in errors.items() if exporter.product_of(name) in products}
    return below, {name: error for name, error in errors.items() if name not in below}


def _copy_configuration(baseline: Path, recipe: Recipe, model: BlipForConditionalGeneration, output: Path) -> None:
    """Everything but the weights, with what a recipe changed in it."""
    for name in (CONFIGURATION, *PROCESSOR_FILES):
        shutil.copyfile(baseline / name, output / name)
    side, vision, text = recipe.side, model.config.vision_config, model.config.text_config
    if side:
        preprocessor = _read_json(output / PREPROCESSOR)
        _write_json(preprocessor | {"size": {"height": side, "width": side}}, output / PREPROCESSOR)
    of_vision = ({"image_size": side} if side else {}) | ({KEY: merged_patches(vision)} if recipe.tokens else {})
    of_text = {"num_hidden_layers": text.num_hidden_layers} if recipe.shorten else {}
    if of_vision or of_text:
        configuration = _read_json(output / CONFIGURATION)
        configuration["vision_config"] |= of_vision
        configuration["text_config"] |= of_text
        _write_json(configuration, output / CONFIGURATION)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def model_card(name: str, manifest: Manifest) -> str:
    """The README.md of a checkpoint: what it is, where it came from, how to use it."""
    origin = ", ".join(f"{key} {value}" for key, value in manifest.origin.items())
    steps = [f"- {key}: {in_flow_style(given)}" for key, given in manifest.recipe.items()]
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
            *([sentence, ""] if (sentence := int8_in_words(manifest)) else []),
            f"Built with {libraries}, validated on a CPU with {', '.join(manifest.validated_on) or 'no extensions'}.",
            "Speed and quality, measured against the unchanged model, are in the project's `reports/report.md`.",
            f"{WEIGHTS[manifest.runtime]} `checkpoint.json` holds each file's size and SHA-256.",
            "",
            f"    python -m stages.caption --checkpoint models/{name} photo.jpg",
            "",
        ]
    )


def int8_in_words(manifest: Manifest) -> str:
    """Which layers stay in float because int8 would spoil them, and which one of the others int8 suits least."""
    if manifest.worst_int8_layer is None:
        return ""
    worst, least = manifest.worst_int8_layer
    kept = manifest.passes["quantize"]["layers_in_float"]
    in_float = ", ".join(f"{name} ({error} dB)" for name, error in kept.items())
    return (
        f"int8 leaves the output of {worst} least room: it is {least} dB above its error on the calibration "
        f"pictures. In float, as int8 would spoil them: {in_float or 'none'}."
    )


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml")]) -> None:
    """Builds models/VARIANT from models/baseline."""
    check_threads("stages.optimize", "openvino", usable_cores())  # which takes most of all that it may run
    allow_large_pictures()
    params = read_params()
    manifest = optimize(BASELINE, params.recipe(variant), CALIBRATION, MODELS / variant, params.decoding, DRAFTED)
    for name, record in manifest.passes.items():
        figures = {key: value for key, value in record.items() if not isinstance(value, dict | list | tuple)}
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    print(int8_in_words(manifest))


if __name__ == "__main__":
    run(main)
