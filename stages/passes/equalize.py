"""Equalization: rewrites a model so that it computes the same in float and loses less in int8.

Where a few channels reach much further than the others, one scale for all of them leaves the others hardly any steps.
Such channels are scaled down where they come from and up where they are read, and neurons that give the same for every
picture go into the bias behind them.

Sources: G. Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, ICML
2023; M. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import LayerNorm, Linear
from torch.nn.functional import gelu
from transformers import BlipForConditionalGeneration

from stages.passes.activations import Inputs
from stages.passes.int8_error import Bits, error_db

# How much of the spread goes from activations into weights: at each place, what suits int8 best. 0 leaves weights of
# equal reach, 1 activations.
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BITS = Bits(activations=8, weights=7)
# An engine joins a norm without scale with the quantization behind it, which may cost so many decibels.
PLAIN_NORM_DB = 0.8
# A neuron is constant if no picture can move what it takes in by more than this share of its bias.
CONSTANT = 1e-3


class Rows(NamedTuple):
    """Weights, float32 (channels, inputs), and biases of channels that a layer gives."""

    weight: torch.Tensor
    bias: torch.Tensor


class Attention(NamedTuple):
    """Projections of an attention, and the layer that reads what it gives."""

    query: Rows
    key: Rows
    value: Rows
    output: Linear


class Mlp(NamedTuple):
    """A layer norm, the layer that reads it, and the layer behind that one's GELU."""

    norm: LayerNorm
    widen: Linear
    narrow: Linear


@torch.no_grad()
def apply(model: BlipForConditionalGeneration, inputs: Mapping[str, Inputs]) -> dict[str, Any]:
    """Equalizes a model in place. `inputs` is what its linear layers take in, as `capture_inputs` finds it.

    Returns how many neurons became part of biases, and of how many layer norms how many have no scale any more.
    """
    taken = {model.get_submodule(name): own for name, own in inputs.items()}
    constant = sum(_fold_constant_neurons(mlp) for mlp in _mlps(model))
    for attention in _attentions(model):
        _balance_query_and_key(attention)
        _balance_value(attention, taken[attention.output])
    norms = _norms_and_readers(model)
    plain = sum(_balance_norm(norm, readers, taken[readers[0]]) for norm, readers in norms.items())
    return {"constant_neurons": constant, "layer_norms": len(norms), "layer_norms_without_scale": plain}


def _norms_and_readers(model: BlipForConditionalGeneration) -> dict[LayerNorm, list[Linear]]:
    """The layer norms that nothing but linear layers reads: the encoder's."""
    vision = model.vision_model
    readers: dict[LayerNorm, list[Linear]] = {}
    for layer in vision.encoder.layers:
        readers |= {layer.layer_norm1: [layer.self_attn.qkv], layer.layer_norm2: [layer.mlp.fc1]}
    crossed = [layer.crossattention.self for layer in model.text_decoder.bert.encoder.layer]
    return readers | {vision.post_layernorm: [part for layer in crossed for part in (layer.key, layer.value)]}


def _attentions(model: BlipForConditionalGeneration) -> Iterator[Attention]:
    for layer in model.vision_model.encoder.layers:
        fused = layer.self_attn.qkv
        query, key, value = map(Rows, fused.weight.chunk(3), fused.bias.chunk(3))
        yield Attention(query, key, value, layer.self_attn.projection)
    for layer in model.text_decoder.bert.encoder.layer:
        for attention in (layer.attention, layer.crossattention):
            own = attention.self
            query, key, value = (Rows(part.weight, part.bias) for part in (own.query, own.key, own.value))
            yield Attention(query, key, value, attention.output.dense)


def _mlps(model: BlipForConditionalGeneration) -> Iterator[Mlp]:
    for layer in model.vision_model.encoder.layers:
        yield Mlp(layer.layer_norm2, layer.mlp.fc1, layer.mlp.fc2)
    for layer in model.text_decoder.bert.encoder.layer:
        yield Mlp(layer.crossattention.output.LayerNorm, layer.intermediate.dense, layer.output.dense)


def _fold_constant_neurons(mlp: Mlp) -> int:
    """Moves what constant neurons add into the bias behind them, and makes them give 0. Returns how many they are."""
    norm, widen, narrow = mlp
    center = widen.bias + widen.weight @ norm.bias
    # Without scale and offset, what a norm gives is no longer than the root of its width.
    reach = (widen.weight * norm.weight).norm(dim=1) * norm.weight.numel() ** 0.5
    constant = reach <= CONSTANT * center.abs()
    narrow.bias.add_(narrow.weight[:, constant] @ gelu(center[constant]))
    for tensor in (widen.weight, widen.bias, narrow.weight.T):
        tensor[constant] = 0
    return int(constant.sum())


def _balance_query_and_key(attention: Attention) -> None:
    """Lets both reach equally far in each channel, by their weights."""
    query, key = (torch.cat([rows.weight, rows.bias[:, None]], dim=1).norm(dim=1) for rows in attention[:2])
    factors = _or_one((query / key).sqrt())
    _divide(attention.query, factors)
    _divide(attention.key, 1 / factors)


def _balance_value(attention: Attention, inputs: Inputs) -> None:
    factors, _ = _best_factors(inputs, attention.output.weight)
    _divide(attention.value, factors)
    attention.output.weight.mul_(factors)


def _balance_norm(norm: LayerNorm, readers: list[Linear], inputs: Inputs) -> bool:
    """Moves a norm's offset into the biases of its readers, and as much of its scale into their weights as is best.

    Returns whether that is all of it.
    """
    scale, offset = norm.weight.clone(), norm.bias.clone()
    for reader in readers:
        reader.bias.add_(reader.weight @ offset)
        reader.weight.mul_(scale)
    norm.weight.fill_(1)
    norm.bias.zero_()
    scaled = inputs._replace(rows=inputs.rows - offset, low=inputs.low - offset, high=inputs.high - offset)
    plain = _rescale(scaled, scale)
    weights = torch.cat([reader.weight for reader in readers])
    factors, error = _best_factors(plain, weights)
    if error_db(plain, weights, BITS) >= error - PLAIN_NORM_DB:
        return True
    norm.weight.div_(factors)
    for reader in readers:
        reader.weight.mul_(factors)
    return False


def _best_factors(inputs: Inputs, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """By what to divide the channels of inputs for int8 to lose least, and by how many decibels its error is below."""
    reach = torch.maximum(inputs.low.abs(), inputs.high.abs())
    columns = weights.abs().amax(dim=0)
    candidates = [_or_one(reach**strength / columns ** (1 - strength)) for strength in STRENGTHS]
    errors = [error_db(_rescale(inputs, factors), weights * factors, BITS) for factors in candidates]
    best = max(range(len(candidates)), key=errors.__getitem__)
    return candidates[best], errors[best]


def _rescale(inputs: Inputs, factors: torch.Tensor) -> Inputs:
    """Inputs whose channels are divided by factors; channels with a factor of 0 give nothing."""
    divided = [torch.where(factors == 0, 0, part / factors) for part in inputs]
    return Inputs(divided[0], torch.minimum(divided[1], divided[2]), torch.maximum(divided[1], divided[2]))


def _divide(rows: Rows, factors: torch.Tensor) -> None:
    rows.weight.div_(factors[:, None])
    rows.bias.div_(factors)


def _or_one(factors: torch.Tensor) -> torch.Tensor:
    """Factors around 1, with 1 where a channel is never used or not read."""
    usable = torch.isfinite(factors) & (factors > 0)
    middle = factors[usable].log().mean().exp() if usable.any() else 1
    return torch.where(usable, factors / middle, 1)
