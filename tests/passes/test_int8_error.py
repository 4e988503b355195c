from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Linear

from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import open_checkpoint
from stages.passes.activations import Inputs
from stages.passes.int8_error import Bits, error_db, round_activations, round_weights
from stages.scenes.composition import compose
from stages.scenes.drawing import draw as draw_scene
from stages.scenes.wording import is_right
from stages.setup.params import read_params
from tests.conftest import DEMO, PROJECT


def draw(seed: int, rows: int = 32, channels: int = 8, outputs: int = 5) -> tuple[Inputs, torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, channels, generator=dice)
    return inputs_of(values), torch.randn(outputs, channels, generator=dice)


def inputs_of(values: torch.Tensor) -> Inputs:
    return Inputs(values, values.amin(dim=0), values.amax(dim=0))


@given(st.integers(0, 2**31))
def test_a_bit_more_is_about_six_decibels(seed: int) -> None:
    inputs, weights = draw(seed)
    errors = [error_db(inputs, weights, Bits(bits, bits)) for bits in (6, 8, 10, 12)]
    assert np.allclose(np.diff(errors), 12, atol=4)


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_units_do_not_matter(seed: int, unit: float) -> None:
    inputs, weights = draw(seed)
    scaled = Inputs(*(part * unit for part in inputs))
    assert abs(error_db(scaled, weights, Bits(8, 7)) - error_db(inputs, weights, Bits(8, 7))) < 1


@given(st.integers(0, 2**31), st.integers(2, 8))
def test_rounding_is_what_an_engine_s_integers_give(seed: int, bits: int) -> None:
    inputs, weights = draw(seed)
    rounded = round_activations(inputs, bits)
    low, high = min(float(inputs.low.min()), 0), max(float(inputs.high.max()), 0)
    step = (high - low) / (2**bits - 1)
    assert (rounded - inputs.rows).abs().max() <= step * 1.01
    assert len(rounded.unique()) <= 2**bits
    for row, exact in zip(round_weights(weights, bits), weights, strict=True):
        assert (row - exact).abs().max() <= exact.abs().max() / (2 ** (bits - 1) - 1) / 2 * 1.01
    assert not round_activations(inputs_of(torch.zeros(3, 2)), bits).any(), "nothing stays nothing"


def test_what_is_the_same_in_every_row_is_no_signal() -> None:
    inputs, weights = draw(0)
    with_constant = inputs_of(torch.cat([inputs.rows, torch.ones(len(inputs.rows), 1)], dim=1))
    strong = torch.cat([weights, torch.full((len(weights), 1), 100.0)], dim=1)
    weak = torch.cat([weights, torch.zeros(len(weights), 1)], dim=1)
    assert error_db(with_constant, strong, Bits(8, 7)) < error_db(with_constant, weak, Bits(8, 7)) - 20


def outputs_strength(layers: list[Linear], run: Callable[[], object]) -> list[float]:
    """How far each layer's outputs vary: the root of their mean square, without what is the same in every row."""
    seen: dict[Linear, list[float]] = {layer: [] for layer in layers}

    def watch(layer: Linear, _: object, output: torch.Tensor) -> None:
        rows = output.flatten(0, -2)
        seen[layer].append(float((rows - rows.mean(dim=0)).square().mean()))

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    run()
    for hook in hooks:
        hook.remove()
    return [float(np.mean(own)) ** 0.5 for own in seen.values()]


@torch.inference_mode()
def test_as_much_noise_in_every_layer_as_recipes_allow_in_one_leaves_nearly_all_captions_right() -> None:
    """What params.yaml's `float_below_db` rests on: see models/README.md."""
    least = read_params(PROJECT / "params.yaml").recipe("onnx_int8").quantize
    assert least and least.float_below_db
    parts = open_checkpoint(DEMO, threads=None)
    parts.model.float()  # it lies there in half precision
    scenes = [compose(seed, "held_out") for seed in range(200)]
    pixels = parts.preprocess([draw_scene(scene, seed) for seed, scene in enumerate(scenes)])

    def captions(pixels: torch.Tensor) -> list[str]:
        return [parts.detokenize(row) for row in parts.decode(parts.encode(pixels), Decoding())]

    def right(captions: list[str]) -> int:
        return sum(map(is_right, captions, scenes))

    layers = [
        layer
        for name, layer in parts.model.named_modules()
        if isinstance(layer, Linear) and not name.startswith("text_decoder.cls")
    ]
    strengths = outputs_strength(layers, lambda: captions(pixels[:16]))
    expected = captions(pixels)
    dice = torch.Generator().manual_seed(0)
    for layer, strength in zip(layers, strengths, strict=True):
        noise = strength * 10 ** (-least.float_below_db / 20)
        layer.register_forward_hook(
            lambda _, __, output, noise=noise: output + noise * torch.randn(output.shape, generator=dice)
        )
    noisy = captions(pixels)
    assert noisy != expected, "the noise does reach them"
    # 15 dB leave 98 % of the right ones, 10 dB half.
    assert right(noisy) >= 0.95 * right(expected)
