"""An encoder whose layers merge patches that look alike, so that those behind them have fewer to compute with.

Which patches, each layer finds for each picture: of every other patch that nearest like it among the rest, by their
keys, and then the pairs most alike become their mean. How many layers merge is `merged_patches` in config.json, a
number for each layer.
Source: D. Bolya et al., Token Merging: Your ViT But Faster, ICLR 2023.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import BlipForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from ..command_line import InputError

KEY = "merged_patches"  # of vision_config in config.json
TINY = 1e-12  # for keys of nothing but zeros


def merged_patches(vision: Any) -> list[int]:
    """How many patches each layer of an encoder merges into others, from its configuration."""
    return list(getattr(vision, KEY, None) or [0] * vision.num_hidden_layers)


def lengths(vision: Any) -> list[int]:
    """How many states, one for each patch that is left and the class's own, each layer takes in, and the last gives."""
    first = 1 + (vision.image_size // vision.patch_size) ** 2
    return list(accumulate(merged_patches(vision), lambda length, merged: length - merged, initial=first))


def most(length: int) -> int:
    """How many patches a layer can merge that takes in so many states: every other one, but not the class's."""
    return length // 2 if length > 2 else 0


def install(model: BlipForConditionalGeneration) -> None:
    """Lets a model's encoder merge as its configuration says, in place. Raises InputError if it can't."""
    vision = model.config.vision_config
    merged = merged_patches(vision)
    before = lengths(vision)[:-1]
    possible = len(merged) == vision.num_hidden_layers and all(
        0 <= count <= most(length) for count, length in zip(merged, before, strict=True)
    )
    if not possible:
        raise InputError(f"{KEY} in config.json are more than its layers can merge: rebuild it")
    if any(merged):
        width = vision.hidden_size // vision.num_attention_heads
        model.vision_model.encoder = MergingEncoder(model.vision_model.encoder.layers, merged, width)


def merge(
    hidden: torch.Tensor, sizes: torch.Tensor | None, keys: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Merges so many patches into those most like them.

    Takes states, (pictures, length, width), the first of them the class's, which stays; how many patches each stands
    for, (pictures, length, 1), or None as long as that is one; and the heads' keys to compare them by, (pictures,
    heads, length, head width).
    Returns states and sizes, their length by `count` shorter.
    """
    if not count:
        return hidden, sizes
    if sizes is None:
        sizes = hidden.new_ones(*hidden.shape[:2], 1)
    keys = keys.mean(dim=1)
    keys = keys / (keys.square().sum(dim=-1, keepdim=True) + TINY).sqrt()
    alike, nearest = (keys[:, 1::2] @ keys[:, 2::2].transpose(1, 2)).topk(1)
    order = alike[..., 0].topk(alike.shape[1]).indices
    goes, stays = order[:, :count], order[:, count:]
    weighted = torch.cat([hidden * sizes, sizes], dim=-1)
    first, odd, even = weighted[:, :1], weighted[:, 1::2], weighted[:, 2::2]
    into = _rows(nearest, goes).transpose(1, 2) == torch.arange(even.shape[1], device=hidden.device)[:, None]
    sums = torch.cat([first, _rows(odd, stays), even + into.to(odd.dtype) @ _rows(odd, goes)], dim=1)
    merged = sums[..., -1:]
    return sums[..., :-1] / merged, merged


def _rows(states: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of states, (pictures, length, width), the rows chosen, (pictures, number)."""
    # Not arange, as a graph with an operator that makes a tensor of any size is refused when it is opened.
    pictures = torch.ones_like(chosen[:, :1]).cumsum(dim=0) - 1
    return states[pictures, chosen]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sizes: torch.Tensor | None) -> torch.Tensor:
    """Attention of (pictures, heads, length, head width) that heeds a state as often as the patches it stands for."""
    more = None
    if sizes is not None:  # a row for each query, as ONNX Runtime wants it
        more = sizes.log()[:, None, None, :, 0].expand(-1, -1, query.shape[2], -1)
    return scaled_dot_product_attention(query, key, value, attn_mask=more)


class MergingEncoder(torch.nn.Module):
    """transformers' encoder, whose layers merge so many patches each between attention and MLP."""

    def __init__(self, layers: torch.nn.ModuleList, merged: Sequence[int], head_width: int) -> None:
        super().__init__()
        self.layers, self.merged, self.head_width = layers, merged, head_width

    def forward(self, inputs_embeds: torch.Tensor, **_: object) -> BaseModelOutput:
        """Embeddings, float32 (pictures, 1 + patches, width), to the states that are left."""
        hidden, sizes = inputs_embeds, None
        layers: Any = self.layers
        for layer, count in zip(layers, self.merged, strict=True):
            attention = layer.self_attn
            heads = attention.qkv(layer.layer_norm1(hidden)).unflatten(-1, (3, -1, self.head_width))
            query, key, value = heads.permute(2, 0, 3, 1, 4)
            context = attend(query, key, value, sizes).transpose(1, 2).flatten(2)
            hidden = hidden + attention.projection(context)
            hidden, sizes = merge(hidden, sizes, key, count)
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        return BaseModelOutput(last_hidden_state=hidden)
