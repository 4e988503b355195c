"""Every kernel multiplies by the same weights, whatever it makes of them."""

import numpy as np
import pytest
import torch

from stages.alternatives.sparse_kernels import FLOAT, KERNELS, LAYERS, missing_kernels, to_form, with_zeros
from stages.passes.zeros import SIDE

THREADS = 1
INPUTS = 64


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("outputs", [32, 44])  # whole blocks of outputs, and an incomplete one
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_gives_what_a_dense_product_does(name: str, outputs: int, rows: int) -> None:
    dice = torch.Generator().manual_seed(0)
    kernel = KERNELS[name]
    taken = torch.randn(rows, INPUTS, generator=dice)
    weights = [with_zeros(torch.rand(outputs, INPUTS, generator=dice) - 0.5, kernel.zeros, 0.5, dice) for _ in range(2)]
    given = kernel.prepare([to_form(weight, kernel.form) for weight in weights], taken, THREADS)()
    for own, weight in zip(given, weights, strict=True):
        expected = (taken @ weight.T).numpy()
        result = np.asarray(own)
        if kernel.form != "dense":  # columns, and more of them where a kernel goes by whole tiles
            result = result.reshape(len(result), -1)[:outputs, :rows].T
        tolerance = 0.1 if "int8" in name else 1e-5
        np.testing.assert_allclose(result, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_zeros_are_as_many_as_they_are_said_to_be(share: float) -> None:
    dice = torch.Generator().manual_seed(0)
    weight = torch.rand(40 * SIDE, 40 * SIDE, generator=dice) - 0.5
    anywhere, blocks, fours = (with_zeros(weight, zeros, share, dice) for zeros in ("anywhere", "blocks", "2:4"))
    for sparse, expected in ((anywhere, share), (blocks, share), (fours, 0.5)):
        assert float((sparse == 0).float().mean()) == pytest.approx(expected, abs=0.03)
        assert torch.equal(sparse[sparse != 0], weight[sparse != 0])
    by_block = (blocks == 0).unflatten(0, (-1, SIDE)).unflatten(2, (-1, SIDE)).float().mean(dim=(1, 3))
    assert set(by_block.flatten().tolist()) == {0.0, 1.0}


def test_the_layers_are_those_of_the_full_size_model() -> None:
    """Their numbers, beside the decoder's keys and values of the picture and one product before the output layer."""
    encoder, decoder = (
        sum(own.copies * own.inputs * own.outputs for own in LAYERS if own.part == part) for part in ("picture", "word")
    )
    assert encoder == 12 * (4 + 8) * 768**2
    assert decoder == 12 * (6 + 8) * 768**2 + 768 * 30524


def test_what_is_missing_is_named_with_its_reason() -> None:
    missing = missing_kernels()
    assert FLOAT not in missing
    assert "CUDA" in missing["torch_semi_structured"]
    assert "AMX" in missing.get("openvino_sparse_int8", "AMX")
