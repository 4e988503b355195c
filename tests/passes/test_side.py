from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.preprocessing import read_preprocessing
from stages.optimize import optimize
from stages.passes import side
from stages.setup.params import Recipe
from tests.conftest import tiny_model

SMALLER = 64
PATCH = 32


def pixels(length: int) -> torch.Tensor:
    return torch.randn(2, 3, length, length, generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("length", [32, 64, 96])
def test_a_model_sees_smaller_pictures_as_transformers_own_interpolation_does(length: int) -> None:
    model = tiny_model(1)
    seen = pixels(length)
    with torch.inference_mode():
        expected = model.vision_model(pixel_values=seen, interpolate_pos_encoding=True).last_hidden_state
        record = side.apply(model, length)
        states = model.vision_model(pixel_values=seen).last_hidden_state
    torch.testing.assert_close(states, expected)
    assert states.shape[1] == 1 + record["patches"] == 1 + (length // PATCH) ** 2
    assert record["patches_before"] == (128 // PATCH) ** 2
    assert model.config.vision_config.image_size == length


@given(st.integers(1, 12), st.integers(1, 5))
def test_positions_of_the_same_size_are_the_same(across: int, width: int) -> None:
    table = torch.randn(1, 1 + across**2, width, generator=torch.Generator().manual_seed(across))
    torch.testing.assert_close(side.interpolate_positions(table, across), table)


@given(st.integers(1, 12), st.integers(1, 12), st.floats(-3, 3))
def test_positions_that_are_all_the_same_stay_so(before: int, across: int, value: float) -> None:
    table = torch.full((1, 1 + before**2, 2), value)
    torch.testing.assert_close(side.interpolate_positions(table, across), torch.full((1, 1 + across**2, 2), value))


@pytest.mark.parametrize(
    ("length", "part"),
    [
        (100, "choose 96$"),
        (50, "choose 32 or 64"),
        (7, "choose 32"),
        (128, "not smaller than the model's own of 128"),
        (4000, "smaller"),
    ],
)
def test_a_side_that_can_not_be_is_one_sentence(length: int, part: str, baseline: Path, calibration: Path) -> None:
    output = baseline.parent / "never"
    with pytest.raises(InputError, match=part):
        optimize(baseline, Recipe(side=length), calibration, output)
    assert not output.exists()


def test_the_checkpoint_takes_pictures_of_the_side(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    manifest = optimize(baseline, Recipe(side=SMALLER), calibration, tmp_path / "smaller")
    assert manifest.recipe["side"] == SMALLER
    assert manifest.passes["side"] == {"patches": 4, "patches_before": 16}
    settings = read_preprocessing(tmp_path / "smaller")
    assert (settings.size.height, settings.size.width) == (SMALLER, SMALLER)
