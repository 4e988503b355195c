"""Convolutions that become products of matrices where those are what runs in int8. Any CPU computes either."""

from collections import Counter
from pathlib import Path

import numpy as np
import openvino
import pytest

from stages.captioner.runtimes.openvino_core import start_core
from stages.captioner.runtimes.openvino_products import make_convolutions_products
from tests.conftest import Build


def operators(model: openvino.Model) -> Counter[str]:
    return Counter(node.get_type_name() for node in model.get_ops())


def encode(model: openvino.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """In float32, as int8 rounds what differs in its last digits."""
    core = start_core()
    settings = {"INFERENCE_PRECISION_HINT": openvino.Type.f32, "INFERENCE_NUM_THREADS": 1}
    results = core.compile_model(model, "CPU", settings)([pixels])
    return {port.any_name: np.array(value) for port, value in results.items()}


@pytest.mark.parametrize("name", ["openvino_int8", "openvino", "openvino_pruned_dynamic_int8"])
def test_each_linear_layer_becomes_a_product_and_the_result_stays(name: str, build: Build) -> None:
    before, after = (start_core().read_model(Path(build(name)) / "encoder.xml") for _ in range(2))
    linear = operators(before)["Convolution"] - 1  # all but the one that takes the patches
    assert make_convolutions_products(after) == linear
    assert operators(after)["Convolution"] == 1
    assert operators(after)["MatMul"] == operators(before)["MatMul"] + linear
    assert operators(after)["Transpose"] <= operators(before)["Transpose"]
    assert operators(after)["FakeQuantize"] == operators(before)["FakeQuantize"]
    pixels = np.random.default_rng(0).normal(size=before.input(0).get_shape()).astype(np.float32)
    expected, found = encode(before, pixels), encode(after, pixels)
    assert found.keys() == expected.keys()
    for port, values in expected.items():
        difference = np.sqrt(np.mean((found[port] - values) ** 2) / np.mean(values**2))
        assert difference < 0.05, port


def test_only_the_one_of_static_int8_has_any(build: Build) -> None:
    assert make_convolutions_products(start_core().read_model(Path(build("openvino_int8")) / "encoder.xml")) > 0
