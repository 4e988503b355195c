"""Unstructured magnitude pruning: the smallest weights of every linear layer become zero for good."""

from typing import Any

import numpy as np
import torch


def apply(model: torch.nn.Module, amount: float) -> dict[str, Any]:
    """Zeroes the share `amount` of each `nn.Linear` weight with the smallest magnitude, in place.

    Weights are changed where they are, so the output layer stays tied to the word embeddings, if it is, which are thus
    pruned with it. Zeros alone make a dense model neither smaller nor faster; the benchmark shows that.

    Returns the reached sparsity, overall and per layer (shares between 0 and 1).
    """
    sparsity: dict[str, float] = {}
    zeros = weights = 0
    with torch.no_grad():
        for name, layer in model.named_modules():
            if not isinstance(layer, torch.nn.Linear):
                continue
            values = layer.weight.detach().numpy().reshape(-1)  # a view
            count = round(amount * values.size)
            values[np.argpartition(np.abs(values), count - 1)[:count]] = 0
            layer_zeros = layer.weight.numel() - int(torch.count_nonzero(layer.weight))
            sparsity[name] = round(layer_zeros / layer.weight.numel(), 4)
            zeros += layer_zeros
            weights += layer.weight.numel()
    return {"sparsity": round(zeros / weights, 4), "sparsity_per_layer": sparsity}
