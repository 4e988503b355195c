"""The shortest time that this machine could take for a caption: its peaks against the arithmetic of BLIP.

Source: S. Williams et al., Roofline: An Insightful Visual Performance Model, Communications of the ACM, 2009.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch

SIDE = 2048  # large enough for matrix products to reach the peak, and for a product to take milliseconds
BYTES_TO_READ = 1 << 28  # far more than caches hold
REPEATS = 5
Precision = Literal["int8", "bfloat16", "float32"]
BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}


class Peaks(NamedTuple):
    """What the machine can do at best: operations per second of matrix products, and bytes read per second."""

    operations: dict[Precision, float]
    bandwidth: float


class Arithmetic(NamedTuple):
    """What captioning one picture takes. A multiplication and an addition are two operations."""

    linear: float  # operations of the layers that run once per picture: the encoder, cross-attention keys and values
    attention: float  # operations of the encoder's attention
    weights_per_token: float  # number of weights that each token reads; keys and values of the picture included


def measure_peaks(threads: int) -> Peaks:
    """Measures this machine's peaks with PyTorch's own kernels, the best of several repetitions each."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        floats = torch.randn(SIDE, SIDE)
        halves, bytes_ = floats.bfloat16(), torch.randint(-127, 127, (SIDE, SIDE), dtype=torch.int8)
        long = torch.ones(BYTES_TO_READ // 4)
        seconds: dict[Precision, float] = {
            "int8": _best(lambda: torch._int_mm(bytes_, bytes_)),
            "bfloat16": _best(lambda: halves @ halves),
            "float32": _best(lambda: floats @ floats),
        }
        return Peaks({name: 2 * SIDE**3 / time for name, time in seconds.items()}, BYTES_TO_READ / _best(long.sum))
    finally:
        torch.set_num_threads(before)


def arithmetic(config: dict[str, Any]) -> Arithmetic:
    """Counts what a model's `config.json` implies, in its unpruned form."""
    vision, text = config["vision_config"], config["text_config"]
    patches = 1 + (vision["image_size"] // vision["patch_size"]) ** 2
    width, layers = vision["hidden_size"], vision["num_hidden_layers"]
    own_width, own_layers = text["hidden_size"], text["num_hidden_layers"]
    encoder = layers * (4 * width**2 + 2 * width * vision["intermediate_size"])
    embedding = 3 * vision["patch_size"] ** 2 * width
    keys_and_values = own_layers * 2 * width * own_width
    decoder_layer = 6 * own_width**2 + 2 * own_width * text["intermediate_size"]
    vocabulary = own_width**2 + own_width * text["vocab_size"]
    return Arithmetic(
        linear=2 * patches * (encoder + embedding + keys_and_values),
        attention=layers * 2 * 2 * patches**2 * width,
        weights_per_token=own_layers * (decoder_layer + 2 * patches * own_width) + vocabulary,
    )


def shortest_seconds(work: Arithmetic, peaks: Peaks, new_tokens: int, linear: Precision, attention: Precision) -> float:
    """The least time for a caption of so many tokens with products in these precisions: tokens wait for memory."""
    per_picture = work.linear / peaks.operations[linear] + work.attention / peaks.operations[attention]
    return per_picture + new_tokens * work.weights_per_token * BYTES[linear] / peaks.bandwidth


def _best(run: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(REPEATS))
