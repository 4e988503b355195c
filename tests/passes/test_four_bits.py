"""What 4 bits do to a layer, by the integers that engines compute with."""

import nncf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from openvino import Core, Model, opset13
from pydantic import ValidationError

from stages.passes.activations import Inputs
from stages.passes.four_bits import correct_biases, errors_db, round_weights
from stages.setup.params import Recipe
from tests.passes.test_int8_error import inputs_of

ROWS, COLUMNS = 6, 40


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**31), st.sampled_from([None, 16, 128]))
def test_each_row_or_block_has_sixteen_values_and_the_furthest_is_kept(seed: int, block: int | None) -> None:
    weight = drawn(seed)
    for exact, rounded in zip(weight, round_weights(weight, block), strict=True):
        for own, near in zip(exact.split(block or COLUMNS), rounded.split(block or COLUMNS), strict=True):
            furthest = own.abs().argmax()
            step = own[furthest].abs() / 8
            assert len(near.unique()) <= 16 and torch.isclose(near[furthest], own[furthest])
            assert (near - own).abs().max() <= step * 1.01  # a half, and a whole one where 8 would be needed
    assert not round_weights(torch.zeros(2, 3), block).any()


def test_rounding_is_openvino_s() -> None:
    weight = drawn(0)
    rows = opset13.parameter([-1, COLUMNS], np.float32)
    product = opset13.matmul(rows, opset13.constant(weight.numpy()), False, True)
    last = opset13.matmul(product, opset13.constant(np.eye(ROWS, dtype=np.float32)), False, True)  # stays in 8 bits
    model = nncf.compress_weights(
        Model([last], [rows]), mode=nncf.CompressWeightsMode.INT4_SYM, ratio=1, group_size=-1,
        backup_mode=nncf.BackupMode.NONE,
    )  # fmt: skip
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    given = Core().compile_model(model, "CPU", settings)(np.eye(COLUMNS, dtype=np.float32))[0].T
    # It stores the scales in half precision.
    assert np.allclose(given, round_weights(weight, None).numpy(), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("block", [None, 16])
def test_a_bias_makes_up_for_what_is_added_on_the_average(block: int | None) -> None:
    layer, dice = torch.nn.Linear(COLUMNS, ROWS), torch.Generator().manual_seed(1)
    model = torch.nn.ModuleDict({"layer": layer})
    rows = 3 + torch.randn(200, COLUMNS, generator=dice)
    inputs: dict[str, Inputs] = {"layer": inputs_of(rows)}
    with torch.no_grad():
        exact = layer(rows)
        correct_biases(model, inputs, block)
        error = rows @ round_weights(layer.weight, block).T + layer.bias - exact
    assert error.mean(dim=0).abs().max() < 1e-4
    variation = (exact - exact.mean(dim=0)).square().sum()
    expected = 10 * torch.log10(variation / error.square().sum())
    assert abs(errors_db(model, inputs, block)["layer"] - float(expected)) < 0.1


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"quantize": {"scheme": "dynamic-int8", "decoder_weight_bits": 4}}, "for onnxruntime and openvino"),
        ({"runtime": "openvino", "quantize": {"scheme": "static-int8", "decoder_weight_bits": 3}}, "4 or 8"),
    ],
)
def test_other_bits_are_refused(recipe: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Recipe.model_validate(recipe)
