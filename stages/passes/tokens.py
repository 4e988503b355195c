"""Fewer patches: layers of the encoder merge those that look alike, see `captioner.runtimes.pytorch_merging`.

Merged in every layer rather than all at once, as what looks alike is the plainer to see the deeper the layer.
"""

from typing import Any

from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch_merging import KEY, install, lengths, most
from stages.setup.params import Tokens


def apply(model: BlipForConditionalGeneration, tokens: Tokens) -> dict[str, Any]:
    """Lets layers of a model's encoder merge patches, in place.

    Raises InputError if there are not so many layers, or patches. Returns how many each merges, and how many are left.
    """
    vision = model.config.vision_config
    layers, patches = vision.num_hidden_layers, lengths(vision)[0] - 1
    if tokens.from_layer > layers:
        raise InputError(f"tokens.from_layer: the encoder has {layers} layers, none of number {tokens.from_layer}")
    merging = layers - tokens.from_layer + 1
    count = max(1, round(tokens.merged * patches))
    setattr(vision, KEY, [0] * (layers - merging) + [count] * merging)
    if any(count > most(length) for length in lengths(vision)[-merging - 1 : -1]):
        raise InputError(
            f"tokens.merged: {merging} layers can't merge {count} of {patches} patches each, as each can merge every "
            "other one that is left: choose less, or a later from_layer"
        )
    install(model)
    return {"merged_patches": merging * count, "patches_left": patches - merging * count}
