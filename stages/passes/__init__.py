"""What a recipe may do to a model. Each pass is one module with `apply(model, settings)`, which changes the model in
place and returns what it reached, for the checkpoint's manifest.
"""

from typing import Any

from transformers import BlipForConditionalGeneration

from stages.params import Recipe
from stages.passes import prune, quantize


def apply_recipe(model: BlipForConditionalGeneration, recipe: Recipe) -> dict[str, Any]:
    """Applies a recipe's passes in their order: prune, then quantize. Returns each pass's record."""
    records: dict[str, Any] = {}
    if recipe.prune:
        records["prune"] = prune.apply(model, recipe.prune)
    if recipe.quantize:
        records["quantize"] = quantize.apply(model, recipe.quantize)
    return records
