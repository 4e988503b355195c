"""Rewrites of a captioner that compute the same in float and are hard in int8, as trained transformers are."""

from collections.abc import Callable
from typing import Literal

import torch
from transformers import BlipForConditionalGeneration

Kind = Literal["norms", "values", "constants"]
KINDS: tuple[Kind, ...] = ("norms", "values", "constants")
Draw = Callable[[int], torch.Tensor]
CHANNELS = 3  # that stand out in each place


@torch.no_grad()
def make_hard(model: BlipForConditionalGeneration, kinds: tuple[Kind, ...], strength: float, seed: int) -> None:
    """Lets a few channels, drawn by the seed, reach so many times as far, and reads them so many times as weakly."""
    dice = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        return torch.randperm(count, generator=dice)[:CHANNELS]

    for layer in model.vision_model.encoder.layers:
        _harden_encoder_layer(layer, kinds, strength, draw)
    for layer in model.text_decoder.bert.encoder.layer:
        _harden_decoder_layer(layer, kinds, strength, draw)


def _harden_encoder_layer(layer: torch.nn.Module, kinds: tuple[Kind, ...], strength: float, draw: Draw) -> None:
    width = layer.layer_norm1.weight.numel()
    if "norms" in kinds:
        for norm, reader in ((layer.layer_norm1, layer.self_attn.qkv), (layer.layer_norm2, layer.mlp.fc1)):
            _move(draw(width), strength, [norm.weight, norm.bias], reader)
    if "values" in kinds:
        values = slice(2 * width, None)
        given = [layer.self_attn.qkv.weight[values], layer.self_attn.qkv.bias[values]]
        _move(draw(width), strength, given, layer.self_attn.projection)
    if "constants" in kinds:
        _make_constant(layer.mlp.fc1, layer.mlp.fc2, strength, int(draw(layer.mlp.fc1.out_features)[0]))


def _harden_decoder_layer(layer: torch.nn.Module, kinds: tuple[Kind, ...], strength: float, draw: Draw) -> None:
    """Its norms can't be: not only linear layers read them."""
    if "values" in kinds:
        for attention in (layer.attention, layer.crossattention):
            value = attention.self.value
            _move(draw(value.out_features), strength, [value.weight, value.bias], attention.output.dense)
    if "constants" in kinds:
        widen, narrow = layer.intermediate.dense, layer.output.dense
        _make_constant(widen, narrow, strength, int(draw(widen.out_features)[0]))


def _move(chosen: torch.Tensor, strength: float, given: list[torch.Tensor], reader: torch.nn.Linear) -> None:
    for part in given:
        part[chosen] *= strength
    reader.weight[:, chosen] /= strength


def _make_constant(widen: torch.nn.Linear, narrow: torch.nn.Linear, value: float, neuron: int) -> None:
    """Makes a neuron give the same for every picture, far above the others, and takes what that adds from the bias.

    It forgets what the neuron did before, so this kind of rewrite alone is to be made before the model is used.
    """
    widen.weight[neuron] = 0
    widen.bias[neuron] = value
    narrow.weight[:, neuron] *= 0.1
    narrow.bias -= value * narrow.weight[:, neuron]
