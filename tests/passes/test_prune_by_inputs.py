"""Wanda and SparseGPT, which prune by what layers take in on the calibration pictures, beside plain magnitudes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.pytorch import load_model
from stages.optimize import optimize
from stages.passes import prune, prune_sparsegpt, prune_wanda
from stages.passes.activations import Moments, capture_moments
from stages.passes.prune_structured import fit
from stages.passes.zeros import linear_layers, lowest, lowest_in_rows, two_of_four
from stages.setup.params import Recipe
from tests.conftest import tiny_model, tiny_processor

AMOUNT = 0.5


@pytest.fixture(scope="module")
def moments(pictures: list[Image.Image]) -> dict[str, Moments]:
    _, processor = tiny_processor()
    return capture_moments(tiny_model(), [processor([own], return_tensors="np")["pixel_values"] for own in pictures])


def pruned(by: Callable[[BlipForConditionalGeneration], None]) -> BlipForConditionalGeneration:
    model = tiny_model()
    by(model)
    return model


def error(model: BlipForConditionalGeneration, moments: dict[str, Moments]) -> float:
    """By how much the layers' outputs differ from the unpruned ones, squared, as shares of those, added up."""
    total = 0.0
    for (name, whole), (_, own) in zip(linear_layers(tiny_model()), linear_layers(model), strict=True):
        products = torch.as_tensor(moments[name].products, dtype=torch.float64)
        before, lost = whole.weight.detach().double(), (whole.weight - own.weight).detach().double()
        total += float((lost @ products * lost).sum() / (before @ products * before).sum())
    return total


def test_the_more_a_method_looks_at_what_layers_take_in_the_less_they_lose(moments: dict[str, Moments]) -> None:
    l1 = pruned(partial(prune.zero, choose=partial(lowest, amount=AMOUNT)))
    wanda = pruned(partial(prune_wanda.zero, choose=partial(lowest_in_rows, amount=AMOUNT), taken=moments))
    sparsegpt = pruned(partial(prune_sparsegpt.zero, choose=partial(lowest, amount=AMOUNT), taken=moments))
    assert 0 < error(sparsegpt, moments) < error(wanda, moments) < error(l1, moments)


def test_two_of_each_four_cost_less_by_sparsegpt_as_well(moments: dict[str, Moments]) -> None:
    own = pruned(partial(prune_sparsegpt.zero, choose=two_of_four, taken=moments, columns=4))
    for _, layer in linear_layers(own):
        assert ((layer.weight == 0).reshape(-1, 4).sum(dim=1) >= 2).all()  # the words' row that pads has others
    assert error(own, moments) < error(pruned(partial(prune.zero, choose=two_of_four)), moments)


def test_wanda_weighs_magnitudes_by_the_norms_of_channels_in_each_row() -> None:
    layer = torch.nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2, 3, 4], [4, 3, 2, 1]]))
    rows = torch.diag(torch.tensor([10.0, 1, 1, 0.1]))
    taken = {"0": Moments(rows=4, total=rows.sum(dim=0), products=rows.T @ rows)}
    prune_wanda.zero(torch.nn.Sequential(layer), partial(lowest_in_rows, amount=0.5), taken)
    assert layer.weight.tolist() == [[1, 0, 3, 0], [4, 3, 0, 0]]


def layer_and_rows(outputs: int, inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight and the mean products of what its layer takes in, of channels that are like their neighbours."""
    dice = torch.Generator().manual_seed(seed)
    rows = torch.randn(4 * inputs, inputs, generator=dice, dtype=torch.float64)
    rows[:, 1:] += rows[:, :-1]
    moments = rows.T @ rows / len(rows) + 0.01 * torch.eye(inputs, dtype=torch.float64)
    return torch.randn(outputs, inputs, generator=dice, dtype=torch.float64), moments


@given(outputs=st.integers(1, 5), inputs=st.integers(2, 12), gone=st.integers(1, 11), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_columns_behind_make_up_for_those_that_go_as_well_as_any_could(
    outputs: int, inputs: int, gone: int, seed: int
) -> None:
    gone = min(gone, inputs - 1)
    weight, moments = layer_and_rows(outputs, inputs, seed)
    first = (torch.arange(inputs) < gone).expand(outputs, -1)
    own = prune_sparsegpt.solve(weight, moments, lambda scores: first, inputs)
    assert not own[:, :gone].any()
    torch.testing.assert_close(own[:, gone:], fit(weight, moments, torch.arange(gone, inputs)))


@given(outputs=st.integers(1, 5), inputs=st.integers(2, 12), columns=st.integers(1, 12), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_how_many_columns_are_gone_through_at_once_changes_what_is_chosen_only(
    outputs: int, inputs: int, columns: int, seed: int
) -> None:
    weight, moments = layer_and_rows(outputs, inputs, seed)
    goes = torch.rand(outputs, inputs, generator=torch.Generator().manual_seed(seed)) < AMOUNT
    parts = iter(goes.split(columns, dim=1))
    own = prune_sparsegpt.solve(weight, moments, lambda scores: next(parts), columns)
    torch.testing.assert_close(own, prune_sparsegpt.solve(weight, moments, lambda scores: goes, inputs))
    assert torch.equal(own == 0, goes)


def test_nothing_goes_and_nothing_changes(moments: dict[str, Moments]) -> None:
    """But for the rounding of a weight to double precision and back, which is exact."""
    for by in (
        partial(prune_wanda.zero, choose=partial(lowest_in_rows, amount=0.0), taken=moments),
        partial(prune_sparsegpt.zero, choose=partial(lowest, amount=0.0), taken=moments),
    ):
        for (_, before), (_, after) in zip(linear_layers(tiny_model()), linear_layers(pruned(by)), strict=True):
            assert torch.equal(before.weight, after.weight)


def test_moments_are_those_of_all_rows(pictures: list[Image.Image], moments: dict[str, Moments]) -> None:
    model, (_, processor) = tiny_model(), tiny_processor()
    name = "vision_model.encoder.layers.0.self_attn.qkv"
    seen: list[torch.Tensor] = []
    model.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(0, -2)))
    with torch.no_grad():
        model.vision_model(pixel_values=processor(pictures, return_tensors="pt")["pixel_values"])
    rows = torch.cat(seen)
    own = moments[name]
    assert own.rows == len(rows)
    torch.testing.assert_close(own.norms(), rows.norm(dim=0), rtol=1e-4, atol=1e-4)
    mean, covariance = own.covariance()
    torch.testing.assert_close(mean, rows.double().mean(dim=0), rtol=1e-3, atol=1e-4)
    ridge = covariance - rows.double().T.cov(correction=0)
    assert ridge.diagonal().min() > 0 and ridge.fill_diagonal_(0).abs().max() < 1e-3


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_recipe_zeroes_so_large_a_share_of_every_layer(
    method: str, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate({"prune": {"method": method, "amount": AMOUNT}})
    folders = [tmp_path / "first", tmp_path / "again"]
    record, again = (optimize(baseline, recipe, calibration, folder).passes["prune"] for folder in folders)
    model, before = load_model(folders[0]), load_model(baseline)
    for (name, layer), (_, whole) in zip(linear_layers(model), linear_layers(before), strict=True):
        zeros = float((layer.weight == 0).float().mean())
        assert layer.weight.shape == whole.weight.shape
        assert zeros == pytest.approx(AMOUNT, abs=0.005)
        assert record["sparsity_per_layer"][name] == pytest.approx(zeros, abs=1e-4)
    assert record["sparsity"] == pytest.approx(AMOUNT, abs=0.005) and record == again
    files = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert files[0] == files[1]
    words = model.text_decoder.bert.embeddings.word_embeddings.weight
    assert words is model.text_decoder.cls.predictions.decoder.weight
