"""What a short distillation brings back: `python -m tests.demo.recovery` cuts the demo's captioner in several ways and
lets it learn from itself as it was, and prints what is lost before and after, as the table of reports/README.md.
"""

import copy
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.command_line import run
from stages.passes import apply_recipe
from stages.passes.recover import Lesson
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.setup.params import DEMO_FOLDER, Recipe, Scenes, read_params
from tests.demo.sensitivity import Damage, measure, table

CUTS: dict[str, dict[str, Any]] = {
    "weights": {"prune": {"method": "l1_unstructured", "amount": 0.3}},
    "heads, neurons": {"prune": {"method": "structured", "amount": 0.3}},
    "patches": {"tokens": {"merged": 0.08}},
    "side": {"side": 160},
    "decoder layers": {"shorten": 0.33},
}
STEPS = 60
RECOVERIES: dict[str, dict[str, Any]] = {"cut": {}, "the decoder learned": {"recover": {"steps": STEPS}}}


def cut(model: BlipForConditionalGeneration, _: torch.Generator, recipe: Recipe, folder: Path, pictures: int) -> None:
    """Applies a recipe to a model, in place; the pictures are the demo's of calibration."""
    own = [draw(compose(seed, "training"), seed) for seed in range(pictures)]
    teacher, whole = copy.deepcopy(model), model.config.vision_config.image_size
    processor = BlipImageProcessorPil.from_pretrained(folder)
    of_teacher, of_model = (
        [
            processor(picture, size={"height": side, "width": side}, return_tensors="np")["pixel_values"]
            for picture in own
        ]
        for side in (whole, recipe.side or whole)
    )
    with tempfile.TemporaryDirectory() as state:
        lesson = Lesson(teacher, of_teacher, [], Path(state) / "state.safetensors")
        apply_recipe(model.requires_grad_(False), recipe, of_model, lesson=lesson)


def main(folder: Annotated[Path, typer.Argument(help="of a captioner of drawn scenes")] = Path(DEMO_FOLDER)) -> None:
    """Prints the table."""
    dataset = read_params().models["demo"].dataset
    assert isinstance(dataset, Scenes)
    damages = [
        Damage(
            name,
            how,
            partial(cut, recipe=Recipe.model_validate(own | more), folder=folder, pictures=dataset.calibration),
        )
        for name, own in CUTS.items()
        for how, more in RECOVERIES.items()
    ]
    print(table(list(measure(folder, dataset.evaluation, lambda _: damages))))


if __name__ == "__main__":
    run(main)
