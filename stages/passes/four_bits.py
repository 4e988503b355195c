"""Weights in 4 bits: how far engines round them, and a bias that makes up for what that adds to every output alike.

Source of the latter: M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV
2019.
"""

from collections.abc import Mapping

import torch

from stages.passes.activations import Inputs
from stages.passes.int8_error import decibels


@torch.no_grad()
def errors_db(model: torch.nn.Module, inputs: Mapping[str, Inputs], block: int | None) -> dict[str, float]:
    """By how many decibels the outputs of linear layers, by name, are stronger than the error of weights in 4 bits,
    both as far as they vary: `correct_biases` takes out the rest."""
    errors = {}
    for name, own in inputs.items():
        weight = model.get_parameter(f"{name}.weight")
        exact, error = (own.rows @ matrix.T for matrix in (weight, round_weights(weight, block) - weight))
        errors[name] = round(decibels(exact, error - error.mean(dim=0)), 1)
    return errors


@torch.no_grad()
def correct_biases(model: torch.nn.Module, inputs: Mapping[str, Inputs], block: int | None) -> None:
    """Takes from the biases of linear layers, by name, in place, what 4 bits add to their outputs on the average."""
    for name, own in inputs.items():
        weight = model.get_parameter(f"{name}.weight")
        added = own.rows.mean(dim=0) @ (round_weights(weight, block) - weight).T
        model.get_parameter(f"{name}.bias").sub_(added)


def round_weights(weight: torch.Tensor, block: int | None) -> torch.Tensor:
    """Weights, float32 (outputs, channels), in integers from -8 to 7 and back, as OpenVINO and ONNX Runtime round them:
    with one scale for each row, or for each `block` numbers of it, such that the one that reaches furthest is -8."""
    width = weight.shape[1]
    padded = torch.nn.functional.pad(weight, (0, -width % (block or width))).unflatten(1, (-1, block or width))
    furthest = padded.gather(2, padded.abs().argmax(dim=2, keepdim=True))
    step = torch.where(furthest == 0, 1.0, furthest / -8)
    rounded: torch.Tensor = (padded / step).round().clamp(-8, 7) * step
    return rounded.flatten(1)[:, :width]
