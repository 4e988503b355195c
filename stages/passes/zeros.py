"""Which weights of a layer become zero: those with the lowest scores, freely or in a pattern that kernels want."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

# Takes a score for each weight of a layer, (outputs, inputs), and returns the mask of those that go.
Choose = Callable[[torch.Tensor], torch.Tensor]
SIDE = 16  # of the blocks, in rows and in columns: what kernels for blocks multiply as one small dense matrix


def linear_layers(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear]]:
    """All of a model, with their names."""
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            yield name, layer


def lowest(scores: torch.Tensor, amount: float) -> torch.Tensor:
    """The share `amount` of all, to the nearest whole number of weights."""
    flat = scores.detach().numpy().reshape(-1)
    return torch.from_numpy(_lowest_in_rows(flat[None], round(amount * flat.size))).reshape(scores.shape)


def lowest_in_rows(scores: torch.Tensor, amount: float) -> torch.Tensor:
    """The share `amount` of each output's weights, to the nearest whole number."""
    return torch.from_numpy(_lowest_in_rows(scores.detach().numpy(), round(amount * scores.shape[1])))


def two_of_four(scores: torch.Tensor) -> torch.Tensor:
    """Two of each four neighbouring inputs; of what is left over at the end of a row, none."""
    whole = scores.shape[1] // 4 * 4
    fours = scores.detach()[:, :whole].reshape(-1, 4).numpy()
    mask = torch.zeros(scores.shape, dtype=torch.bool)
    mask[:, :whole] = torch.from_numpy(_lowest_in_rows(fours, 2)).reshape(len(scores), whole)
    return mask


def blocks(scores: torch.Tensor, amount: float) -> torch.Tensor:
    """The share `amount` of the blocks of SIDE by SIDE weights, by the squared scores in each; those at the edges may
    be smaller."""
    rows, columns = scores.shape
    padded = torch.nn.functional.pad(scores.detach().square(), (0, -columns % SIDE, 0, -rows % SIDE))
    sums = padded.unflatten(0, (-1, SIDE)).unflatten(2, (-1, SIDE)).sum(dim=(1, 3))
    return lowest(sums, amount).repeat_interleave(SIDE, dim=0).repeat_interleave(SIDE, dim=1)[:rows, :columns]


def _lowest_in_rows(scores: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(scores.shape, dtype=bool)
    if count:
        np.put_along_axis(mask, np.argpartition(scores, count - 1, axis=1)[:, :count], True, axis=1)
    return mask


def sparsity(model: torch.nn.Module) -> dict[str, Any]:
    """The shares of zeros among the weights of linear layers, between 0 and 1: overall and by layer."""
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in linear_layers(model)}
    sizes = {name: layer.weight.numel() for name, layer in linear_layers(model)}
    return {
        "sparsity": round(sum(zeros.values()) / sum(sizes.values()), 4),
        "sparsity_per_layer": {name: round(zeros[name] / sizes[name], 4) for name in sizes},
    }
