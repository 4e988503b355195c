"""Smaller pictures: the encoder's position embeddings, interpolated for fewer patches of the same size.

Linear layers run once per patch, so 288 of 384 pixels leave 56 % of the encoder's products, and as much of what the
decoder's cross-attention reads at every word. BLIP itself was trained on smaller pictures first and then, with its
positions interpolated in the same way, on those of its final size.
Source: J. Li et al., BLIP: Bootstrapping Language-Image Pre-training, ICML 2022, section 4.1; A. Dosovitskiy et al., An
Image is Worth 16x16 Words, ICLR 2021, section 3.2.
"""

from typing import Any

import torch
from torch.nn.functional import interpolate
from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.preprocessing import Preprocessing, Size


def check(side: int, model_side: int, patch: int) -> None:
    """Raises InputError if pictures of a side, in pixels, are no whole patches or not smaller than a model's own."""
    if side >= model_side:
        raise InputError(f"side: {side} is not smaller than the model's own of {model_side} pixels: choose less")
    if side % patch:
        below = side - side % patch
        near = " or ".join(str(other) for other in (below, below + patch) if 0 < other < model_side)
        raise InputError(f"side: {side} is no multiple of the model's patches of {patch} pixels: choose {near}")


def apply(model: BlipForConditionalGeneration, side: int) -> dict[str, Any]:
    """Makes a model take pictures of a side, in pixels, in place. Raises InputError as `check` does.

    Returns how many patches a picture has, before and now.
    """
    config, embeddings = model.config.vision_config, model.vision_model.embeddings
    check(side, config.image_size, config.patch_size)
    across, before = side // config.patch_size, config.image_size // config.patch_size
    positions = interpolate_positions(embeddings.position_embedding.detach(), across)
    embeddings.position_embedding = torch.nn.Parameter(positions, requires_grad=False)
    embeddings.image_size = config.image_size = side
    embeddings.num_patches, embeddings.num_positions = across**2, 1 + across**2
    return {"patches": across**2, "patches_before": before**2}


def resize_to(preprocessing: Preprocessing, side: int | None) -> Preprocessing:
    """How pictures are prepared whose side, in pixels, a recipe sets; as before if it sets none."""
    return preprocessing.model_copy(update={"size": Size(height=side, width=side)}) if side else preprocessing


def interpolate_positions(table: torch.Tensor, across: int) -> torch.Tensor:
    """Position embeddings, (1, 1 + patches, width), for pictures of `across` x `across` patches.

    The class's own stays as it is, the others are interpolated bicubically.
    """
    first, patches = table[:, :1], table[:, 1:]
    before = round(patches.shape[1] ** 0.5)
    grid = patches.unflatten(1, (before, before)).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(across, across), mode="bicubic", align_corners=False)
    return torch.cat([first, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
