"""What a search may choose: the knobs of a recipe that leave less to compute, and the engine's; int8 and what protects
it are the same in all."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from transformers import BlipConfig

from stages.setup.params import Recipe

# Below two thirds of its side, captions of a picture are others: reports/README.md has what sides cost.
SMALLEST_SIDE = 2 / 3
# With the calibration pictures that there usually are, more steps bring nothing.
RECOVER_STEPS = 50
CUTS = {"side", "tokens", "shorten", "prune"}  # what can be recovered from
FLOAT_BELOW_DB = 15  # as in the variants that people made
SCHEMES = {"openvino": "static-int8", "onnxruntime": "dynamic-int8"}
Knobs = dict[str, Any]  # by their places in a recipe; of `shorten`, how many layers


class Shape(NamedTuple):
    """Of a model, what knobs are bounded by."""

    side: int
    patch: int
    decoder_layers: int

    @classmethod
    def of(cls, config: BlipConfig) -> "Shape":
        """That of a model's configuration."""
        vision = config.vision_config
        return cls(vision.image_size, vision.patch_size, config.text_config.num_hidden_layers)


def space(shape: Shape) -> dict[str, BaseDistribution]:
    """The values of each knob."""
    smallest = shape.patch * ceil(SMALLEST_SIDE * (shape.side // shape.patch))
    return {
        "side": IntDistribution(smallest, shape.side, step=shape.patch),
        "tokens.merged": FloatDistribution(0, 0.1, step=0.005),
        "shorten": IntDistribution(0, shape.decoder_layers // 2),
        "prune.amount": FloatDistribution(0, 0.4, step=0.05),
        "prune.decoder_amount": FloatDistribution(0, 0.4, step=0.05),
        "recover.steps": CategoricalDistribution([0, RECOVER_STEPS]),
        "quantize.decoder_weight_bits": CategoricalDistribution([8, 4]),
        "runtime": CategoricalDistribution(list(SCHEMES)),
    }


def uncut(shape: Shape) -> Knobs:
    """Those of the recipe that leaves nothing out, for OpenVINO in int8: what all candidates are timed against."""
    return {
        "side": shape.side,
        "tokens.merged": 0.0,
        "shorten": 0,
        "prune.amount": 0.0,
        "prune.decoder_amount": 0.0,
        "recover.steps": 0,
        "quantize.decoder_weight_bits": 8,
        "runtime": "openvino",
    }


def recipe_of(knobs: Knobs, shape: Shape) -> Recipe:
    """The recipe that knobs mean."""
    runtime, bits = knobs["runtime"], knobs["quantize.decoder_weight_bits"]
    quantize = {"scheme": SCHEMES[runtime], "float_below_db": FLOAT_BELOW_DB}
    own: dict[str, Any] = {
        "equalize": True,
        "runtime": runtime,
        "quantize": quantize | ({"decoder_weight_bits": bits} if bits != 8 else {}),
    }
    if knobs["side"] != shape.side:
        own["side"] = knobs["side"]
    if merged := round(knobs["tokens.merged"], 3):
        own["tokens"] = {"merged": merged}
    if knobs["shorten"]:
        own["shorten"] = round(knobs["shorten"] / shape.decoder_layers, 2)
    amount, in_decoder = round(knobs["prune.amount"], 2), round(knobs["prune.decoder_amount"], 2)
    if amount or in_decoder:
        own["prune"] = {"method": "structured", "amount": amount}
        own["prune"] |= {"decoder_amount": in_decoder} if in_decoder != amount else {}
    if knobs["recover.steps"] and own.keys() & CUTS:
        own["recover"] = {"steps": knobs["recover.steps"]}
    return Recipe.model_validate(own)


def knobs_of(recipe: Recipe, shape: Shape) -> Knobs | None:
    """The knobs that mean a recipe; None if the space doesn't have it."""
    knobs = uncut(shape)
    knobs["runtime"] = recipe.runtime
    knobs["side"] = recipe.side or shape.side
    if recipe.tokens:
        knobs["tokens.merged"] = recipe.tokens.merged
    if recipe.shorten:
        knobs["shorten"] = max(1, round(recipe.shorten * shape.decoder_layers))
    if recipe.prune:
        knobs["prune.amount"] = amount = recipe.prune.amount
        knobs["prune.decoder_amount"] = amount if recipe.prune.decoder_amount is None else recipe.prune.decoder_amount
    if recipe.recover:
        knobs["recover.steps"] = recipe.recover.steps
    if recipe.quantize:
        knobs["quantize.decoder_weight_bits"] = recipe.quantize.decoder_weight_bits
    return knobs if _inside(knobs, shape) and recipe_of(knobs, shape) == recipe else None


def _inside(knobs: Knobs, shape: Shape) -> bool:
    return all(_has(own, knobs[name]) for name, own in space(shape).items())


def _has(own: BaseDistribution, value: Any) -> bool:
    """Whether a value is one of a knob's; where it has steps, one of these."""
    if isinstance(own, CategoricalDistribution):
        return value in own.choices
    assert isinstance(own, FloatDistribution | IntDistribution) and own.step
    steps = (value - own.low) / own.step
    return bool(own.low <= value <= own.high and abs(steps - round(steps)) < 1e-6)


def start_points(variants: Mapping[str, Recipe], shape: Shape) -> list[Knobs]:
    """The uncut recipe first, and those of the variants that the space has, each once."""
    found = [uncut(shape)]
    for recipe in variants.values():
        knobs = knobs_of(recipe, shape)
        if knobs and knobs not in found:
            found.append(knobs)
    return found
