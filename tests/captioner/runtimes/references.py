"""Tiny models in transformers, and their exports, whose decoding is compared."""

from collections.abc import Callable
from functools import cache

import torch

from stages.captioner.runtimes.captioner import Parts
from stages.captioner.runtimes.pytorch import PyTorchCaptioner
from stages.export import onnxruntime, openvino
from tests.conftest import tiny_model, tiny_processor

Exported = Callable[[str, int], Parts]
RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino}
# Far above what engines differ by in a logit, and far below what tells most words from each other.
NOISE = 2e-3


@cache
def reference(seed: int, noise_seed: int | None = None) -> PyTorchCaptioner:
    """The model in transformers, each word's logit a little higher or lower if there is a seed for that."""
    model = tiny_model(seed)
    if noise_seed is not None:
        bias = model.text_decoder.cls.predictions.decoder.bias
        noise = torch.randn(bias.shape, generator=torch.Generator().manual_seed(noise_seed))
        bias.data += NOISE * noise
    return PyTorchCaptioner(model, *tiny_processor())
