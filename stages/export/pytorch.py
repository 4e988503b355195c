"""Writes a model for PyTorch: its tensors, float or int8, as safetensors."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.captioner.checkpoint import save_weights
from stages.captioner.command_line import InputError
from stages.captioner.runtimes import pytorch_int8
from stages.captioner.runtimes.pytorch import load_model, weights
from stages.passes.int8_error import Bits
from stages.setup.params import Quantize

BLOCK: int | None = None  # no recipe has weights of 4 bits here


def bits(quantize: Quantize) -> Bits:
    """The bits of a product: FBGEMM's of 8 bits could overflow, so PyTorch gives activations 7."""
    return Bits(activations=7, weights=8)


def has_int8_activations(layer: str) -> bool:
    """Whether int8 rounds what a linear layer takes in."""
    return True


def product_of(layer: str) -> str:
    """The product that computes a linear layer: its own."""
    return layer


def export(
    model: BlipForConditionalGeneration,
    quantize: Quantize | None,
    in_float: Collection[str],
    in_int8: Collection[str],
    calibration: Sequence[np.ndarray],
    directory: Path,
) -> dict[str, Any]:
    """Writes model.safetensors into a directory that holds config.json. Dynamic int8 needs no calibration.

    `in_float` names linear layers that int8 leaves alone; all others are in int8.

    Returns what was quantized, for the checkpoint's manifest. Raises InputError if the model doesn't read back the
    same.
    """
    record: dict[str, Any] = {}
    if quantize:
        record["quantize"] = {"scheme": quantize.scheme, "layers": pytorch_int8.apply(model, in_float)}
    save_weights(weights(model), directory)
    _check_reload(model, directory)
    return record


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
