import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.passes.activations import Inputs
from stages.passes.int8_error import Bits, error_db, round_activations, round_weights


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
