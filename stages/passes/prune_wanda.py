"""Wanda: in each row of a linear layer those weights become zero that give least on the calibration pictures.

A weight's score is its magnitude times the norm of the channel that it reads; nothing else changes.
Source: M. Sun, Z. Liu, A. Bair, J. Z. Kolter: A Simple and Effective Pruning Approach for Large Language Models, ICLR
2024.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.passes.activations import Moments, capture_moments
from stages.passes.zeros import Choose, linear_layers, lowest_in_rows, sparsity


def apply(model: BlipForConditionalGeneration, amount: float, calibration: Sequence[np.ndarray]) -> dict[str, Any]:
    """Zeroes the share `amount` of every row of each `nn.Linear` weight, in place; a tied one stays tied.

    `calibration` is pixels, float32 (1, 3, side, side) each.

    Returns the reached sparsity, overall and per layer (shares between 0 and 1).
    """
    zero(model, partial(lowest_in_rows, amount=amount), capture_moments(model, calibration))
    return sparsity(model)


@torch.no_grad()
def zero(model: torch.nn.Module, choose: Choose, taken: Mapping[str, Moments]) -> None:
    """Zeroes, in place, the weights that are chosen by their scores; `taken` is what each layer takes in."""
    for name, layer in linear_layers(model):
        layer.weight.masked_fill_(choose(layer.weight.abs() * taken[name].norms()), 0)
