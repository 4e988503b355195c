from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch import load_model
from stages.optimize import optimize
from stages.passes import shorten
from stages.setup.params import Recipe
from tests.conftest import TINY_SIDE, tiny_model


def noise(pictures: int) -> list[np.ndarray]:
    dice = np.random.default_rng(0)
    return [dice.standard_normal((1, 3, TINY_SIDE, TINY_SIDE)).astype(np.float32) for _ in range(pictures)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_layer_that_does_nothing_goes_without_a_trace(number: int) -> None:
    models = [tiny_model(3, num_hidden_layers=3) for _ in range(2)]
    for model in models:
        layer = model.text_decoder.bert.encoder.layer[number - 1]
        with torch.no_grad():
            for output in (layer.attention.output, layer.crossattention.output, layer.output):
                for parameter in output.dense.parameters():
                    parameter.zero_()
    shortened, whole = models
    record = shorten.apply(shortened, 0.3, noise(20))
    assert record["left_out"] == [number] and record["kl_nats"] == pytest.approx(0, abs=1e-4)
    assert shortened.config.text_config.num_hidden_layers == 2
    tokens = torch.tensor([[whole.config.text_config.bos_token_id, 7, 8, 9]])
    with torch.inference_mode():
        expected, own = (
            model(pixel_values=torch.from_numpy(noise(1)[0]), input_ids=tokens).logits for model in (whole, shortened)
        )
    torch.testing.assert_close(own, expected, atol=0.01 * float(expected.std()), rtol=0.01)


def test_layers_go_until_so_many_stay_and_more_is_lost_with_each() -> None:
    divergences = []
    for layers in (3, 2, 1):
        model = tiny_model(1, num_hidden_layers=4)
        record = shorten.apply(model, 1 - layers / 4, noise(6))
        assert len(model.text_decoder.bert.encoder.layer) == layers == 4 - len(set(record["left_out"]))
        divergences.append(record["kl_nats"])
    assert 0 < divergences[0] < divergences[-1]


@given(words=st.integers(2, 20), width=st.integers(2, 5), seed=st.integers(0, 2**31), still=st.booleans())
def test_no_other_scales_and_offsets_come_nearer(words: int, width: int, seed: int, still: bool) -> None:
    dice = torch.Generator().manual_seed(seed)
    taken, wanted, weight, bias = (
        torch.randn(*shape, generator=dice) for shape in ((words, width), (words, width), (width,), (width,))
    )
    if still:  # a channel that never changes
        taken[:, 0] = 1
    norm = torch.nn.LayerNorm(width, elementwise_affine=True)
    norm.weight, norm.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    fitted = shorten.fit_norm(norm, taken * weight + bias, wanted)

    def error(weight: torch.Tensor, bias: torch.Tensor) -> float:
        return float((taken * weight + bias - wanted).square().mean())

    nudged = [own + 0.1 * torch.randn(width, generator=dice) for own in fitted]
    assert error(*fitted) <= min(error(weight, bias), error(*nudged)) + 1e-4


def test_a_share_of_all_layers_is_one_sentence(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"shorten: 0\.9 would leave out all of the decoder's layers, of which it has 2"
    ):
        optimize(baseline, Recipe(shorten=0.9), calibration, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_the_checkpoint_has_so_many_layers(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    manifest = optimize(baseline, Recipe(shorten=0.1), calibration, tmp_path / "shorter")
    assert load_model(tmp_path / "shorter").config.text_config.num_hidden_layers == 1
    assert len(manifest.passes["shorten"]["left_out"]) == 1
