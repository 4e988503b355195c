"""A shorter decoder: layers leave it whose absence changes the next words least, one after the other.

Each time every layer that is left is tried. What a layer gave is given by the layer norm before it as nearly as its
scales and offsets allow, by least squares for each channel, so that nothing more is computed in the layer's place.
Source: J. Song et al., SLEB: Streamlining LLMs through Redundancy Verification and Elimination of Transformer Blocks,
ICML 2024 (the order).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.passes.next_words import Batch, divergence, next_words, say, to_batch

BATCH = 16


@torch.no_grad()
def apply(model: BlipForConditionalGeneration, share: float, calibration: Sequence[np.ndarray]) -> dict[str, Any]:
    """Leaves out a share of the layers of a model's decoder, rounded to whole ones but at least one, in place.

    `calibration` is pixels, float32 (1, 3, side, side) each. Raises InputError if all layers would go.

    Returns which layers went, counted from 1 and in this order, and the KL divergence of the next words since, in nats,
    on the calibration pictures.
    """
    own: list[Any] = list(model.text_decoder.bert.encoder.layer)
    kept, layers = list(own), len(own) - max(1, round(share * len(own)))
    if layers < 1:
        raise InputError(f"shorten: {share} would leave out all of the decoder's layers, of which it has {len(own)}")
    batches = list(_say(model, calibration))
    expected = _next_words(model, batches)
    gave = _watch(model, [layer.output.LayerNorm for layer in own], batches)
    gone, lost = list[int](), 0.0
    while len(kept) > layers:
        now = _watch(model, [_norm_before(model, kept, layer) for layer in kept], batches)
        tried = []
        for number, layer in enumerate(kept):
            norm = _norm_before(model, kept, layer)
            old, corrected = (norm.weight, norm.bias), fit_norm(norm, now[number], gave[own.index(layer)])
            _use(model, [other for other in kept if other is not layer])
            norm.weight, norm.bias = corrected
            tried.append((float(divergence(expected, _next_words(model, batches))), number, norm, corrected))
            norm.weight, norm.bias = old
        lost, number, norm, corrected = min(tried, key=lambda one: one[:2])
        norm.weight, norm.bias = corrected
        gone.append(1 + own.index(kept.pop(number)))
        _use(model, kept)
    return {"left_out": gone, "kl_nats": round(lost, 6)}


def _say(model: BlipForConditionalGeneration, calibration: Sequence[np.ndarray]) -> Iterator[Batch]:
    """What the model says of the pictures."""
    for first in range(0, len(calibration), BATCH):
        pixels = torch.from_numpy(np.concatenate(calibration[first : first + BATCH]))
        states = model.vision_model(pixel_values=pixels).last_hidden_state
        yield to_batch(model, say(model, states), states)


def _next_words(model: BlipForConditionalGeneration, batches: Sequence[Batch]) -> torch.Tensor:
    return torch.cat([next_words(model, batch) for batch in batches])


def _watch(
    model: BlipForConditionalGeneration, norms: Sequence[torch.nn.Module], batches: Sequence[Batch]
) -> list[torch.Tensor]:
    """What layer norms give for each word that is said, (words, width) each."""
    given: list[list[torch.Tensor]] = [[] for _ in norms]
    with ExitStack() as hooks:
        for norm, parts in zip(norms, given, strict=True):
            hooks.enter_context(norm.register_forward_hook(lambda _, __, output, parts=parts: parts.append(output)))
        _next_words(model, batches)
    said = [batch.said for batch in batches]
    return [torch.cat([part[rows] for part, rows in zip(parts, said, strict=True)]) for parts in given]


def _norm_before(model: BlipForConditionalGeneration, layers: Sequence[Any], layer: Any) -> torch.nn.LayerNorm:
    """The layer norm whose output a layer of the decoder takes in."""
    number = [other is layer for other in layers].index(True)
    norm = layers[number - 1].output.LayerNorm if number else model.text_decoder.bert.embeddings.LayerNorm
    assert isinstance(norm, torch.nn.LayerNorm)
    return norm


def fit_norm(
    norm: torch.nn.LayerNorm, gives: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """Scales and offsets with which a layer norm gives most nearly what is wanted."""
    mean, target = gives.mean(dim=0), wanted.mean(dim=0)
    variance = (gives - mean).square().mean(dim=0)
    covariance = ((gives - mean) * (wanted - target)).mean(dim=0)
    # Where a channel never changes, its offset says all.
    slope = torch.where(variance > 1e-6 * variance.mean(), covariance / variance, 0.0)
    bias = slope * norm.bias + target - slope * mean
    return torch.nn.Parameter(slope * norm.weight, requires_grad=False), torch.nn.Parameter(bias, requires_grad=False)


def _use(model: BlipForConditionalGeneration, layers: Sequence[Any]) -> None:
    """Lets the decoder have these layers, and each find its part of the KV cache."""
    for number, layer in enumerate(layers):
        layer.attention.self.layer_idx = layer.crossattention.self.layer_idx = number
    model.text_decoder.bert.encoder.layer = torch.nn.ModuleList(layers)
    model.config.text_config.num_hidden_layers = model.text_decoder.config.num_hidden_layers = len(layers)
