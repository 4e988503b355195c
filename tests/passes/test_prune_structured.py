from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch import load_model
from stages.captioner.runtimes.pytorch_blocks import fit
from stages.optimize import optimize
from stages.passes import prune_structured
from stages.passes.prune_structured import WORD, Work
from stages.setup.params import Recipe
from stages.timing.products import count_products
from tests.conftest import tiny_model

# Half of a tiny model's work is its vocabulary, which stays.
AMOUNT = 0.08
PRUNE = {"method": "structured", "amount": AMOUNT}


@given(units=st.integers(2, 6), width=st.integers(1, 3), outputs=st.integers(1, 4), seed=st.integers(0, 2**31))
@settings(max_examples=30)
def test_errors_add_up_to_those_of_the_fitted_layer_which_no_other_beats(
    units: int, width: int, outputs: int, seed: int
) -> None:
    dice = torch.Generator().manual_seed(seed)
    channels = units * width
    rows = torch.randn(4 * channels, channels, generator=dice, dtype=torch.float64)
    covariance = rows.T @ rows / len(rows) + 0.1 * torch.eye(channels, dtype=torch.float64)
    weight = torch.randn(outputs, channels, generator=dice, dtype=torch.float64)

    def error(kept: list[int], own: torch.Tensor) -> float:
        lost = weight.clone()
        lost[:, kept] -= own
        return float((lost @ covariance @ lost.T).trace())

    removal = prune_structured.order(weight, covariance, width)
    assert len(set(removal.units)) == units - 1
    for gone in range(units):
        left = sorted(set(range(units)) - set(removal.units[:gone]))
        kept = [unit * width + channel for unit in left for channel in range(width)]
        fitted = prune_structured.fit(weight, covariance, torch.tensor(kept))
        assert error(kept, fitted) == pytest.approx(sum(removal.errors[:gone]), rel=1e-6, abs=1e-9)
        nudged = fitted + 0.1 * torch.randn(fitted.shape, generator=dice, dtype=torch.float64)
        assert error(kept, fitted) <= min(error(kept, weight[:, kept]), error(kept, nudged)) + 1e-9
    assert fitted.shape == (outputs, width)


def test_units_that_repeat_others_go_first_and_next_to_nothing_is_lost() -> None:
    dice = torch.Generator().manual_seed(0)
    own, width = 6, 2
    rows = torch.randn(200, own * width, generator=dice, dtype=torch.float64).repeat(1, 2)
    covariance = rows.T @ rows / len(rows) + 1e-6 * torch.eye(rows.shape[1], dtype=torch.float64)
    weight = torch.randn(5, rows.shape[1], generator=dice, dtype=torch.float64)
    removal = prune_structured.order(weight, covariance, width)
    assert sorted(unit % own for unit in removal.units[:own]) == list(range(own))
    assert sum(removal.errors[:own]) < 1e-4 * removal.errors[own]


@pytest.mark.parametrize(
    ("amounts", "whole", "cut", "kept"),
    [
        ({"decoder_amount": 0}, "token", "encode", "text_decoder"),
        ({"amount": 0, "decoder_amount": AMOUNT}, "encode", "token", "vision_model"),
    ],
)
def test_the_decoder_or_the_encoder_may_lose_nothing(
    amounts: dict[str, float], whole: str, cut: str, kept: str, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    own = Recipe.model_validate({"prune": PRUNE | amounts})
    record = optimize(baseline, own, calibration, tmp_path / "checkpoint").passes["prune"]
    assert record[f"{cut}_left"] <= 1 - AMOUNT
    assert whole == "encode" or record["token_left"] == 1  # a head of the cross-attention that goes spares work in both
    assert {left for name, left in record["units_left"].items() if name.startswith(kept)} == {1}


def test_amounts_that_mean_nothing_are_refused() -> None:
    for amounts in ({"amount": 0}, {"amount": 0, "decoder_amount": 0}):
        with pytest.raises(ValidationError, match="leaves all as it is"):
            Recipe.model_validate({"prune": PRUNE | amounts})
    with pytest.raises(ValidationError, match="decoder_amount is for method: structured"):
        Recipe.model_validate({"prune": {"method": "l1_unstructured", "amount": 0.3, "decoder_amount": 0.1}})


def test_work_is_what_a_graph_counts(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    for name, runtime in (("reference", "pytorch"), ("graphs", "onnxruntime")):
        own = Recipe.model_validate({"tokens": {"merged": 0.1}, "prune": PRUNE, "runtime": runtime})
        optimize(baseline, own, calibration, tmp_path / name)
    counted = count_products(tmp_path / "graphs", WORD)
    encode, token = (sum(own.macs for own in counted[part]) for part in ("encode", "token"))  # type: ignore[index]
    assert Work(encode, token) == Work.of(load_model(tmp_path / "reference"))


def test_more_than_can_go_is_refused_in_one_sentence(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"structured pruning by 0\.99 .* of the multiplications remain: choose less$"):
        own = Recipe.model_validate({"prune": PRUNE | {"amount": 0.99}})
        optimize(baseline, own, calibration, tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("change", ["reader", "maker", "split head", "wider"])
def test_tensors_that_do_not_fit_are_refused(change: str) -> None:
    model = tiny_model()
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}
    layer = "text_decoder.bert.encoder.layer.0."
    narrow = f"{layer}attention.output.dense.weight"
    if change == "reader":
        state[narrow] = state[narrow][:, :8]
    elif change == "maker":
        state[f"{layer}intermediate.dense.weight"] = state[f"{layer}intermediate.dense.weight"][:5]
    elif change == "split head":
        state[narrow] = state[narrow][:, :4]
        for name in ("query", "key", "value"):
            state[f"{layer}attention.self.{name}.weight"] = state[f"{layer}attention.self.{name}.weight"][:4]
    else:
        state[narrow] = torch.zeros(32, 40)
        for name in ("query", "key", "value"):
            state[f"{layer}attention.self.{name}.weight"] = torch.zeros(40, 32)
    with pytest.raises(InputError, match=r"fit neither config\.json nor each other"):
        fit(model, state)
