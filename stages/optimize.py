"""DVC stage `optimize@<variant>`: applies a variant's recipe to the baseline and writes the optimized checkpoint."""

import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich import print
from transformers import BlipForConditionalGeneration

from stages.checkpoint import BASELINE, MODELS, PROCESSOR_FILES, Manifest, read_manifest, replacing, save_weights, seal
from stages.command_line import InputError, run
from stages.machine import instruction_sets, library_versions
from stages.params import Recipe, read_params
from stages.passes import apply_recipe
from stages.runtimes.pytorch import load_model, weights


def optimize(baseline: Path, recipe: Recipe, output: Path) -> Manifest:
    """Writes the checkpoint that a recipe makes of a baseline checkpoint, and proves that it reads back the same.

    The same baseline and recipe give the same bytes on the same kind of CPU.

    Raises InputError if the baseline is not a whole checkpoint.
    """
    origin = read_manifest(baseline)
    model = load_model(baseline)
    records = apply_recipe(model, recipe)
    with replacing(output) as unfinished:
        for name in ("config.json", *PROCESSOR_FILES):
            if (baseline / name).is_file():
                shutil.copyfile(baseline / name, unfinished / name)
        save_weights(weights(model), unfinished)
        _check_reload(model, unfinished)
        manifest = Manifest(
            origin=origin.origin,
            recipe=recipe.model_dump(mode="json", exclude_none=True),
            passes=records,
            libraries=library_versions("torch", "transformers"),
            validated_on=instruction_sets(),
        )
        (unfinished / "README.md").write_text(model_card(output.name, manifest), encoding="utf-8")
        seal(unfinished, manifest)
    return manifest


@torch.inference_mode()
def _check_reload(model: BlipForConditionalGeneration, directory: Path) -> None:
    """Raises InputError unless the checkpoint on disk computes bit for bit what the model in memory does."""
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[model.config.text_config.bos_token_id, 1, 2]])
    before, after = (
        candidate(pixel_values=pixels, input_ids=tokens).logits for candidate in (model, load_model(directory))
    )
    if not torch.equal(before, after):
        raise InputError(
            f"{directory} reads back with other logits than were saved: report this with `dvc doctor`'s output"
        )


def model_card(name: str, manifest: Manifest) -> str:
    """The README.md of a checkpoint: what it is, where it came from, how to use it."""
    origin = ", ".join(f"{key} {value}" for key, value in manifest.origin.items())
    steps = [
        f"- {key}: {', '.join(f'{name} {value}' for name, value in settings.items())}"
        for key, settings in manifest.recipe.items()
    ]
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
            "`model.safetensors` holds the weights as plain tensors, `checkpoint.json` each file's size and SHA-256.",
            "",
            f"    python -m stages.caption --checkpoint models/{name} photo.jpg",
            "",
        ]
    )


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml")]) -> None:
    """Builds models/VARIANT from models/baseline."""
    manifest = optimize(BASELINE, read_params().recipe(variant), MODELS / variant)
    for name, record in manifest.passes.items():
        figures = {key: value for key, value in record.items() if not isinstance(value, dict)}
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    run(main)
