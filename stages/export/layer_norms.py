"""Folds the encoder's layer norms into the linear layers that read them, for an engine that joins a plain norm with the
quantization behind it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import layer_norm
from transformers import BlipForConditionalGeneration

from stages.export.graphs import EncoderGraph

# How many times as large the rounding error that int8 brings into a norm's readers may become.
LARGEST_GROWTH = 1.1
Readers = dict[torch.nn.LayerNorm, list[torch.nn.Linear]]
Spans = dict[torch.nn.LayerNorm, float]


@torch.no_grad()
def fold_layer_norms(model: BlipForConditionalGeneration, calibration: Sequence[np.ndarray]) -> int:
    """Moves scales and offsets of the encoder's layer norms into the linear layers that read them, in place.

    In float the model computes the same. A norm whose scale tames outliers is left alone: without it int8 would have to
    take wider steps, by `calibration`, pixels of float32 (1, 3, side, side) each. Returns how many are folded.
    """
    readers = _readers(model)
    scaled, plain = _measure_spans(model, readers, calibration)
    folded = 0
    for norm, linears in readers.items():
        weights = torch.cat([linear.weight for linear in linears])
        # A step's rounding error comes out of a product as wide as the product's weights are.
        error, error_if_folded = scaled[norm] * weights.norm(), plain[norm] * (weights * norm.weight).norm()
        if error_if_folded <= LARGEST_GROWTH * error:
            _fold(norm, linears)
            folded += 1
    return folded


def _readers(model: BlipForConditionalGeneration) -> Readers:
    """The encoder's layer norms, and which linear layers read each."""
    vision = model.vision_model
    readers: Readers = {}
    for layer in vision.encoder.layers:
        readers |= {layer.layer_norm1: [layer.self_attn.qkv], layer.layer_norm2: [layer.mlp.fc1]}
    crossed = [layer.crossattention.self for layer in model.text_decoder.bert.encoder.layer]
    return readers | {vision.post_layernorm: [part for layer in crossed for part in (layer.key, layer.value)]}


def _measure_spans(
    model: BlipForConditionalGeneration, norms: Readers, calibration: Sequence[np.ndarray]
) -> tuple[Spans, Spans]:
    """From where to where what a norm gives for calibration pixels reaches: as it is, and without scale and offset."""
    scaled: dict[torch.nn.LayerNorm, list[float]] = {norm: [] for norm in norms}
    plain: dict[torch.nn.LayerNorm, list[float]] = {norm: [] for norm in norms}

    def watch(norm: torch.nn.LayerNorm, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        scaled[norm] += [value.item() for value in output.aminmax()]
        unscaled = layer_norm(inputs[0], norm.normalized_shape, eps=norm.eps)
        plain[norm] += [value.item() for value in unscaled.aminmax()]

    hooks = [norm.register_forward_hook(watch) for norm in norms]
    encoder = EncoderGraph(model)
    for pixels in calibration:
        encoder(torch.from_numpy(pixels))
    for hook in hooks:
        hook.remove()
    as_it_is, without = ({norm: max(seen[norm]) - min(seen[norm]) for norm in norms} for seen in (scaled, plain))
    return as_it_is, without


def _fold(norm: torch.nn.LayerNorm, readers: list[torch.nn.Linear]) -> None:
    for reader in readers:
        reader.bias.add_(reader.weight @ norm.bias)
        reader.weight.mul_(norm.weight)
    norm.weight.fill_(1)
    norm.bias.zero_()
