import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BlipForConditionalGeneration

from stages.passes import equalize
from stages.passes.activations import Inputs, capture_inputs
from stages.passes.int8_error import Bits, layer_errors_db
from tests.conftest import tiny_model
from tests.outliers import KINDS, Kind, make_hard

BITS = Bits(activations=8, weights=7)
kinds = st.lists(st.sampled_from(KINDS), unique=True, min_size=1).map(tuple)


@pytest.fixture(scope="module")
def pixels() -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(size=(1, 3, 128, 128)).astype(np.float32) for seed in range(3)]


def logits(model: BlipForConditionalGeneration, pixels: list[np.ndarray]) -> torch.Tensor:
    words = torch.tensor([[model.config.text_config.bos_token_id, 7, 8, 9]] * len(pixels))
    with torch.inference_mode():
        result: torch.Tensor = model(pixel_values=torch.from_numpy(np.concatenate(pixels)), input_ids=words).logits
    return result


def errors_db(model: BlipForConditionalGeneration, pixels: list[np.ndarray]) -> dict[str, float]:
    return layer_errors_db(model, capture_inputs(model, pixels), BITS, lambda name: True)


def equalized(model: BlipForConditionalGeneration, pixels: list[np.ndarray]) -> dict[str, Any]:
    return equalize.apply(model, capture_inputs(model, pixels))


@settings(max_examples=10)
@given(kinds, st.floats(1, 400), st.integers(0, 2**31))
def test_in_float_a_model_computes_what_it_did(
    pixels: list[np.ndarray], own: tuple[Kind, ...], strength: float, seed: int
) -> None:
    # In float64: sharp attention makes float32's rounding, which no rewrite can keep, hundreds of times as large.
    exact_pixels = [picture.astype(np.float64) for picture in pixels]
    model = tiny_model(seed % 7).double()
    make_hard(model, own, strength, seed)
    before = logits(model, exact_pixels)
    equalized(model, exact_pixels)
    assert (logits(model, exact_pixels) - before).abs().max() < 1e-10 * before.std()


@settings(max_examples=10)
@given(st.sampled_from(KINDS), st.floats(50, 400), st.integers(0, 2**31))
def test_outliers_cost_nothing_any_more(pixels: list[np.ndarray], kind: Kind, strength: float, seed: int) -> None:
    easy = tiny_model(1)
    make_hard(easy, ("constants",), 0.0, seed)  # the same neurons are gone, so both compute the same
    hard = tiny_model(1) if kind == "constants" else copy.deepcopy(easy)
    make_hard(hard, (kind,), strength, seed)
    spoiled = errors_db(hard, pixels)
    equalized(easy, pixels)
    equalized(hard, pixels)
    expected, actual = errors_db(easy, pixels), errors_db(hard, pixels)
    assert min(spoiled.values()) < min(expected.values()) - 6
    for name, error in expected.items():
        assert actual[name] > error - 1.5, name  # a bit is 6 dB; choices on a grid may fall the other way


def test_a_neuron_that_pictures_can_move_is_no_constant(pixels: list[np.ndarray]) -> None:
    model = tiny_model()
    mlp = model.vision_model.encoder.layers[0].mlp
    with torch.no_grad():
        mlp.fc1.bias[3] = -40.0  # silent on these pictures, but another might wake it
        mlp.fc1.weight[4], mlp.fc1.bias[4] = 0.0, 40.0
    before = logits(model, pixels)
    assert equalized(model, pixels)["constant_neurons"] == 1
    assert mlp.fc1.bias[3] < -30 and mlp.fc1.bias[4] == 0 and not mlp.fc2.weight[:, 4].any()
    assert torch.allclose(logits(model, pixels), before, atol=1e-4)


def test_norms_keep_no_scale_where_none_is_needed(pixels: list[np.ndarray]) -> None:
    model = tiny_model()
    record = equalized(model, pixels)
    norms = [model.vision_model.post_layernorm]
    for layer in model.vision_model.encoder.layers:
        norms += [layer.layer_norm1, layer.layer_norm2]
    assert not any(norm.bias.any() for norm in norms)
    plain = [norm for norm in norms if (norm.weight == 1).all()]
    assert record == {"constant_neurons": 0, "layer_norms": 5, "layer_norms_without_scale": len(plain)}


def test_a_norm_that_tames_an_outlier_keeps_its_scale(pixels: list[np.ndarray]) -> None:
    model = tiny_model()
    norm = model.vision_model.encoder.layers[0].layer_norm1
    with torch.no_grad():
        model.vision_model.embeddings.patch_embedding.weight[3] *= 100  # normed, it would reach further than all others
        norm.weight[3] /= 100
    before, easy = logits(model, pixels), tiny_model()
    equalized(easy, pixels)
    assert (easy.vision_model.encoder.layers[0].layer_norm1.weight == 1).all()
    record = equalized(model, pixels)
    assert record["layer_norms_without_scale"] < record["layer_norms"]
    assert (norm.weight[3] < norm.weight / 4).sum() == len(norm.weight) - 1 and not norm.bias.any()
    assert torch.allclose(logits(model, pixels), before, atol=1e-4)


def test_inputs_are_what_layers_take_in(pixels: list[np.ndarray]) -> None:
    model = tiny_model()
    inputs = capture_inputs(model, pixels)
    assert inputs.keys() == {name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    with torch.inference_mode():
        normed = [
            model.vision_model.encoder.layers[0].layer_norm1(model.vision_model.embeddings(torch.from_numpy(picture)))
            for picture in pixels
        ]
    own = inputs["vision_model.encoder.layers.0.self_attn.qkv"]
    rows = torch.cat(normed)
    assert torch.equal(own.rows, rows.flatten(0, 1))
    assert torch.equal(own.low, rows.amin(dim=(0, 1))) and torch.equal(own.high, rows.amax(dim=(0, 1)))
    assert all(isinstance(each, Inputs) and torch.isfinite(each.rows).all() for each in inputs.values())
