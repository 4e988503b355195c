"""Models whose blocks lost attention heads or neurons: transformers' own know one size for all layers.

A checkpoint's tensors say what is left in each, so that no other file has to.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import BlipForConditionalGeneration

from ..command_line import InputError
from .pytorch_int8 import WEIGHT


class Block(NamedTuple):
    """Linear layers of a model, by their names: those that give its units, neurons or heads, the one that reads them,
    and the layer norm that reads the sum of what that one gives and of what passes by.

    `width` is how many channels a unit has, `repeats` how often each of the makers gives all units, side by side.
    """

    makers: tuple[str, ...]
    reader: str
    norm: str
    width: int
    repeats: int = 1


def blocks(model: BlipForConditionalGeneration) -> Iterator[Block]:
    """All blocks of a model, in the order in which it computes them."""
    vision, text = model.config.vision_config, model.config.text_config
    for number in range(vision.num_hidden_layers):
        layer = f"vision_model.encoder.layers.{number}"
        following = f"vision_model.encoder.layers.{number + 1}.layer_norm1"
        after = following if number + 1 < vision.num_hidden_layers else "vision_model.post_layernorm"
        width = vision.hidden_size // vision.num_attention_heads
        attention = f"{layer}.self_attn"
        yield Block((f"{attention}.qkv",), f"{attention}.projection", f"{layer}.layer_norm2", width, repeats=3)
        yield Block((f"{layer}.mlp.fc1",), f"{layer}.mlp.fc2", after, 1)
    for number in range(text.num_hidden_layers):
        layer = f"text_decoder.bert.encoder.layer.{number}"
        width = text.hidden_size // text.num_attention_heads
        for name in ("attention", "crossattention"):
            attention, output = f"{layer}.{name}.self", f"{layer}.{name}.output"
            makers = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
            yield Block(makers, f"{output}.dense", f"{output}.LayerNorm", width)
        output = f"{layer}.output"
        yield Block((f"{layer}.intermediate.dense",), f"{output}.dense", f"{output}.LayerNorm", 1)


def fit(model: BlipForConditionalGeneration, state: Mapping[str, torch.Tensor]) -> None:
    """Gives the blocks of a model on the meta device as many units as the tensors of a checkpoint have, in place.

    Raises InputError if they fit no block.
    """
    for block in blocks(model):
        shapes = {name: weight_shape(state, name) for name in (*block.makers, block.reader)}
        if None in shapes.values():
            continue  # what is missing is said of all tensors at once
        _, channels = shapes.pop(block.reader) or (0, 0)
        most = model.get_submodule(block.reader).in_features
        made = {shape and shape[0] for shape in shapes.values()}
        if made != {block.repeats * channels} or not 0 < channels <= most or channels % block.width:
            raise InputError(f"the weights of {block.reader} fit neither config.json nor each other: rebuild it")
        if channels != most:
            resize(model, block, channels)


def weight_shape(state: Mapping[str, torch.Tensor], layer: str) -> torch.Size | None:
    """The shape, (outputs, inputs), of a linear layer's weight, float or int8, if a checkpoint's tensors have it."""
    tensor = state.get(f"{layer}.weight", state.get(f"{layer}.{WEIGHT}"))
    return None if tensor is None or tensor.dim() != 2 else tensor.shape


def resize(model: BlipForConditionalGeneration, block: Block, channels: int) -> None:
    """Lets a block have so many channels, its linear layers without content on their devices, in place."""
    for name in block.makers:
        model.set_submodule(name, _linear(model.get_submodule(name), outputs=block.repeats * channels))
    model.set_submodule(block.reader, _linear(model.get_submodule(block.reader), inputs=channels))
    parent = block.makers[0].rpartition(".")[0]
    attention = model.get_submodule(parent)
    if parent.endswith(".self_attn"):
        model.set_submodule(parent, FewerHeads(attention.qkv, attention.projection, block.width))
    elif parent.endswith(".self"):
        attention.num_attention_heads, attention.all_head_size = channels // block.width, channels


def _linear(layer: torch.nn.Module, *, inputs: int | None = None, outputs: int | None = None) -> torch.nn.Linear:
    assert isinstance(layer, torch.nn.Linear)
    return torch.nn.Linear(inputs or layer.in_features, outputs or layer.out_features, device=layer.weight.device)


class FewerHeads(torch.nn.Module):
    """The encoder's self-attention, whose heads need not be as wide together as what it reads, as transformers' are."""

    def __init__(self, qkv: torch.nn.Module, projection: torch.nn.Module, width: int) -> None:
        super().__init__()
        self.qkv, self.projection, self.width = qkv, projection, width

    def forward(self, hidden_states: torch.Tensor, **_: object) -> tuple[torch.Tensor, None]:
        """Hidden states, float32 (pictures, patches, width), to as many; no attention probabilities."""
        heads = self.qkv(hidden_states).unflatten(-1, (3, -1, self.width)).permute(2, 0, 3, 1, 4)
        context = scaled_dot_product_attention(*heads)
        states: torch.Tensor = self.projection(context.transpose(1, 2).flatten(2))
        return states, None
