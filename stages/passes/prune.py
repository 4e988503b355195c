"""Unstructured magnitude pruning: the smallest weights of every linear layer become zero for good."""

from functools import partial
from typing import Any

import torch

from stages.passes.zeros import Choose, linear_layers, lowest, sparsity


def apply(model: torch.nn.Module, amount: float) -> dict[str, Any]:
    """Zeroes the share `amount` of each `nn.Linear` weight with the smallest magnitude, in place.

    Weights are changed where they are, so the output layer stays tied to the word embeddings, if it is, which are thus
    pruned with it. Zeros alone make a dense model neither smaller nor faster; the benchmark shows that.

    Returns the reached sparsity, overall and per layer (shares between 0 and 1).
    """
    zero(model, partial(lowest, amount=amount))
    return sparsity(model)


@torch.no_grad()
def zero(model: torch.nn.Module, choose: Choose) -> None:
    """Zeroes, in place, the weights of each linear layer that are chosen by their magnitudes."""
    for _, layer in linear_layers(model):
        layer.weight.masked_fill_(choose(layer.weight.abs()), 0)
