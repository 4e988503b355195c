"""What int8 does to a linear layer, without an engine: the error of its output on what it takes in.

The same arithmetic on every CPU, so that what is decided by it is decided alike everywhere.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from stages.passes.activations import Inputs

MOST_DB = 300.0


class Bits(NamedTuple):
    """How many bits an engine has for activations, with one scale for a layer, and for weights, with one for a row."""

    activations: int
    weights: int


@torch.no_grad()
def error_db(inputs: Inputs, weight: torch.Tensor, bits: Bits) -> float:
    """By how many decibels a layer's output, as far as it varies, is stronger than the error that int8 brings in.

    `weight` is float32 (outputs, channels). What is the same in every row is no part of the signal: a bias would be.
    """
    exact = inputs.rows @ weight.T
    return decibels(exact, round_activations(inputs, bits.activations) @ round_weights(weight, bits.weights).T - exact)


def decibels(exact: torch.Tensor, error: torch.Tensor) -> float:
    """By how many decibels an output, (rows, outputs), as far as it varies from row to row, is stronger than an error.

    At most `MOST_DB` either way, as where there is no signal or no error.
    """
    exact, error = exact.double(), error.double()  # as squares may be too large for float32
    signal, noise = (float(part.square().sum()) for part in (exact - exact.mean(dim=0), error))
    if noise == 0:
        return MOST_DB
    return max(-MOST_DB, min(10 * math.log10(signal / noise), MOST_DB)) if signal else -MOST_DB


def round_activations(inputs: Inputs, bits: int) -> torch.Tensor:
    """The rows in unsigned integers of so many bits and back, with one scale and a zero point."""
    low, high = inputs.low.min().clamp_max(0), inputs.high.max().clamp_min(0)
    step = ((high - low) / (2**bits - 1)).clamp_min(1e-30)
    zero = (-low / step).round()
    integers = (inputs.rows / step + zero).round().clamp(0, 2**bits - 1)
    rounded: torch.Tensor = (integers - zero) * step
    return rounded


def round_weights(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The weights in signed integers of so many bits and back, symmetric, with one scale for each row."""
    step = (weight.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp_min(1e-30)
    rounded: torch.Tensor = (weight / step).round() * step
    return rounded


def layer_errors_db(
    model: torch.nn.Module, inputs: Mapping[str, Inputs], bits: Bits, chosen: Callable[[str], bool]
) -> dict[str, float]:
    """`error_db` of every linear layer whose name is chosen, by its name."""
    return {
        name: round(error_db(own, model.get_parameter(f"{name}.weight"), bits), 1)
        for name, own in inputs.items()
        if chosen(name)
    }
