"""SparseGPT: weights of each linear layer become zero, and those behind make up for it on the calibration pictures.

Columns of a weight are gone through from left to right. Of some at a time, those weights go whose loss the columns to
the right can't mend; then each column's loss is mended by all to its right, by the optimal brain surgeon's rule. What
layers take in is that of the unpruned model for all of them at once, where the authors prune one block of layers and
look again.
Source: E. Frantar, D. Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, ICML 2023.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.passes.activations import Moments, capture_moments
from stages.passes.zeros import Choose, linear_layers, lowest, sparsity

COLUMNS = 128  # of which those weights that go are chosen together: the authors' number


def apply(model: BlipForConditionalGeneration, amount: float, calibration: Sequence[np.ndarray]) -> dict[str, Any]:
    """Zeroes the share `amount` of each `nn.Linear` weight and changes the others, in place; a tied one stays tied.

    `calibration` is pixels, float32 (1, 3, side, side) each.

    Returns the reached sparsity, overall and per layer (shares between 0 and 1).
    """
    zero(model, partial(lowest, amount=amount), capture_moments(model, calibration))
    return sparsity(model)


@torch.no_grad()
def zero(model: torch.nn.Module, choose: Choose, taken: Mapping[str, Moments], columns: int = COLUMNS) -> None:
    """Zeroes, in place, the weights that are chosen among so many columns by their scores, and changes the others;
    `taken` is what each layer takes in."""
    for name, layer in linear_layers(model):
        layer.weight.copy_(solve(layer.weight.double(), taken[name].second_moments(), choose, columns))


def solve(weight: torch.Tensor, moments: torch.Tensor, choose: Choose, columns: int) -> torch.Tensor:
    """The pruned weight, float64 (outputs, inputs), of a weight and of what its layer takes in, (inputs, inputs)."""
    weight = weight.clone()
    # Row i of the inverse's upper factor is what mends column i by those behind it, once all before it are settled.
    factor = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)
    for first in range(0, weight.shape[1], columns):
        last = min(first + columns, weight.shape[1])
        own, mends = weight[:, first:last], factor[first:last, first:last]
        goes = choose((own / mends.diagonal()).square())
        losses = torch.zeros_like(own)
        for column in range(last - first):
            gone = torch.where(goes[:, column], own[:, column], 0)
            losses[:, column] = gone / mends[column, column]
            own[:, column:] -= losses[:, column].outer(mends[column, column:])
            own[goes[:, column], column] = 0  # exactly, whatever rounding left
        weight[:, last:] -= losses @ factor[first:last, last:]
    return weight
