"""What params.yaml's `float_below_db` rests on, of the demo's captions."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import Linear

from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import open_checkpoint
from stages.scenes.composition import compose
from stages.scenes.drawing import draw as draw_scene
from stages.scenes.wording import is_right
from stages.setup.params import read_params
from tests.conftest import DEMO, PROJECT


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
