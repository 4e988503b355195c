"""Multiply-adds as the graphs have them, against PyTorch's own counter and against the shapes by hand."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BlipConfig, BlipForConditionalGeneration

from stages.captioner.runtimes.pytorch import load_model
from stages.timing.products import count_products
from stages.timing.roofline import Part, Product
from tests.conftest import RECIPES, Build

LENGTH = 7


def macs(products: Iterable[Product]) -> int:
    return sum(product.macs for product in products)


def read(products: Iterable[Product]) -> int:
    return sum(product.read for product in products)


def by_hand(config: BlipConfig, length: int) -> dict[str, int]:
    """Multiply-adds of BLIP's layers, written down from its paper."""
    vision, text = config.vision_config, config.text_config
    patches = 1 + (vision.image_size // vision.patch_size) ** 2
    width, wide, own, own_wide = (
        vision.hidden_size,
        vision.intermediate_size,
        text.hidden_size,
        text.intermediate_size,
    )
    layer = patches * (4 * width**2 + 2 * width * wide) + 2 * patches**2 * width
    embedding = (patches - 1) * 3 * vision.patch_size**2 * width
    word = text.num_hidden_layers * (6 * own**2 + 2 * own * own_wide) + own**2 + own * text.vocab_size
    seen = text.num_hidden_layers * 2 * own
    return {
        "encoder": vision.num_hidden_layers * layer + embedding,
        "cross": text.num_hidden_layers * 2 * patches * width * own,
        "first": word + seen * (patches + 1),
        "token": word + seen * (patches + length),
    }


def test_pytorch_s_counter_and_the_shapes_by_hand_agree_with_the_baseline(baseline: Path) -> None:
    counted, model = count_products(baseline, LENGTH), load_model(baseline)
    known = by_hand(model.config, LENGTH)
    assert macs(counted["encode"]) == pytest.approx(known["encoder"], rel=0.01)
    assert macs(counted["prefill"]) == pytest.approx(known["first"] + known["cross"], rel=0.01)
    assert macs(counted["token"]) == pytest.approx(known["token"], rel=0.01)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.vision_model(pixel_values=torch.zeros(1, 3, 128, 128))
    assert 2 * macs(counted["encode"]) == pytest.approx(counter.get_total_flops(), rel=0.01)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        states = torch.zeros(1, 17, 32)
        model.text_decoder.generate(
            input_ids=torch.tensor([[5]]), encoder_hidden_states=states, max_new_tokens=1, min_new_tokens=1
        )
    assert 2 * macs(counted["prefill"]) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_the_shapes_by_hand_are_full_size_blip_s() -> None:
    config = BlipConfig(vision_config={"image_size": 384}, text_config={"vocab_size": 30524})
    known = by_hand(config, LENGTH)
    assert known["encoder"] + known["cross"] == pytest.approx((115 + 12.5) / 2 * 1e9, rel=0.02)
    with torch.device("meta"):
        model = BlipForConditionalGeneration(config)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.vision_model(pixel_values=torch.zeros(1, 3, 384, 384))
    assert counter.get_total_flops() == pytest.approx(2 * known["encoder"], rel=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_every_runtime_computes_what_the_baseline_does(name: str, baseline: Path, build: Build) -> None:
    known, counted = by_hand(load_model(baseline).config, LENGTH), count_products(build(name), LENGTH)
    once: Part = "prefill" if RECIPES[name].runtime == "pytorch" else "encode"  # which computes cross-attention's keys
    expected = {"encode": known["encoder"], "prefill": known["first"], "token": known["token"]}
    expected[once] += known["cross"]
    assert {part: macs(products) for part, products in counted.items()} == pytest.approx(expected, rel=0.01)


def test_int8_weights_are_a_quarter_of_the_bytes_and_keys_and_values_are_what_they_are(build: Build) -> None:
    floats, int8 = (count_products(build(name), LENGTH)["token"] for name in ("onnx", "onnx_int8"))
    states = 2 * 2 * (17 + LENGTH) * 32 * 4  # keys and values of two layers, of patches and tokens, in float32
    assert read(floats) - states == 4 * (read(int8) - states)
    assert {product.precision for product in floats} == {"float32"}
    longer = count_products(build("onnx"), LENGTH + 1)["token"]
    assert read(longer) - read(floats) == 2 * 2 * 32 * 4


def test_a_graph_s_own_precision_is_counted(build: Build) -> None:
    products = count_products(build("openvino_int8"), LENGTH)
    precisions = {product.precision for product in products["encode"]}
    assert "int8" in precisions and len(precisions) == 2  # attention's is a float
    assert read(count_products(build("openvino"), LENGTH)["token"]) > 2 * read(
        count_products(build("openvino_int8"), LENGTH)["token"]
    )
