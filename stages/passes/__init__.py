"""What a recipe may do to a model. Each pass is one module with `apply(model, settings)`, which changes the model in
place and returns what it reached, for the checkpoint's manifest.
"""

from typing import Any

from transformers import BlipForConditionalGeneration

from stages.params import Recipe
from stages.passes import prune


def apply_recipe(model: BlipForConditionalGeneration, recipe: Recipe) -> dict[str, Any]:
    """Applies a recipe's passes, whatever the runtime. Returns each pass's record."""
    return {"prune": prune.apply(model, recipe.prune)} if recipe.prune else {}
