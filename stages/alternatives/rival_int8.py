"""PyTorch's dynamic int8 for captioners of any make, by the same means as for BLIP."""

import torch
from transformers.pytorch_utils import Conv1D

from stages.captioner.runtimes import pytorch_int8


def apply(model: torch.nn.Module, once_per_picture: tuple[str, ...]) -> int:
    """Replaces every linear layer by its int8 twin, in place. Those in the modules that run once per picture get the
    kernel for many rows, as BLIP's encoder does.

    Returns the number of layers replaced.
    """
    _turn_into_linear(model)
    towers = {name: model.get_submodule(name) for name in once_per_picture}
    for name in towers:
        model.set_submodule(name, torch.nn.Identity())
    replaced = pytorch_int8.apply(model)
    # Under the name by which the layers of BLIP's encoder are known.
    replaced += pytorch_int8.apply(torch.nn.ModuleDict({"vision_model": torch.nn.ModuleList(towers.values())}))
    for name, tower in towers.items():
        model.set_submodule(name, tower)
    return replaced


def _turn_into_linear(model: torch.nn.Module) -> None:
    """GPT-2 has a layer of transformers' own in place of each linear one: the same product by a weight that lies the
    other way round. PyTorch's int8 would pass over it."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Conv1D):
            linear = torch.nn.Linear(*layer.weight.shape)
            linear.weight = torch.nn.Parameter(layer.weight.T.contiguous(), requires_grad=False)
            linear.bias = layer.bias
            model.set_submodule(name, linear)
