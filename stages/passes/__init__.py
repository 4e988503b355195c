"""What a recipe may do to a model, whatever the runtime.

Each pass is one module with `apply`, which changes the model in place and returns what it reached, for the checkpoint's
manifest.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from transformers import BlipForConditionalGeneration

from stages.passes import (
    equalize,
    prune,
    prune_sparsegpt,
    prune_structured,
    prune_wanda,
    recover,
    shorten,
    side,
    tokens,
    vocabulary,
)
from stages.passes.activations import capture_inputs
from stages.setup.params import Recipe


def apply_recipe(
    model: BlipForConditionalGeneration,
    recipe: Recipe,
    calibration: Sequence[np.ndarray],
    needed_tokens: Collection[int] = (),
    lesson: recover.Lesson | None = None,
) -> dict[str, Any]:
    """Applies a recipe's passes and returns their records.

    `calibration` is pixels, float32 (1, 3, side, side) each, of the side that the recipe asks for; `needed_tokens`
    are those that a smaller vocabulary keeps, whatever the model says of them; `lesson` is what a recipe that recovers
    learns from, None where nothing can be learned.
    """
    records: dict[str, Any] = {}
    if recipe.side:
        records["side"] = side.apply(model, recipe.side)
    if recipe.vocabulary:
        records["vocabulary"] = vocabulary.apply(model, needed_tokens, calibration)
    if recipe.tokens:
        records["tokens"] = tokens.apply(model, recipe.tokens)
    if recipe.shorten:
        records["shorten"] = shorten.apply(model, recipe.shorten, calibration)
    if recipe.prune and recipe.prune.method == "structured":
        amount, in_decoder = recipe.prune.amount, recipe.prune.decoder_amount
        records["prune"] = prune_structured.apply(
            model, amount, amount if in_decoder is None else in_decoder, calibration
        )
    elif recipe.prune and recipe.prune.method == "l1_unstructured":
        records["prune"] = prune.apply(model, recipe.prune.amount)
    elif recipe.prune:
        by = {"wanda": prune_wanda, "sparsegpt": prune_sparsegpt}[recipe.prune.method]
        records["prune"] = by.apply(model, recipe.prune.amount, calibration)
    if recipe.equalize or (recipe.recover and lesson):
        records["equalize"] = equalize.apply(model, capture_inputs(model, calibration))
    if recipe.recover:
        records["recover"] = recover.apply(model, recipe.recover, lesson, calibration) if lesson else {"steps": 0}
    return records
