"""How much arithmetic passes leave, counted in every runtime."""

from pathlib import Path

import pytest

from stages.captioner.runtimes.pytorch import load_model, weights
from stages.optimize import optimize
from stages.passes.prune_structured import WORD
from stages.setup.params import Recipe
from stages.timing.products import count_products
from tests.passes.test_prune_structured import AMOUNT, PRUNE

SIDE = 96


@pytest.fixture(scope="module", params=["pytorch", "onnxruntime", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def whole(runtime: str, baseline: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for smaller pictures, of which nothing else is left out."""
    folder = tmp_path_factory.mktemp("whole") / runtime
    optimize(baseline, Recipe.model_validate({"side": SIDE, "runtime": runtime}), calibration, folder)
    return folder


def macs(checkpoint: Path) -> dict[str, int]:
    """The multiply-adds of each part."""
    return {part: sum(own.macs for own in products) for part, products in count_products(checkpoint, WORD).items()}


def test_what_structured_pruning_says_is_left_is_what_a_counter_finds(
    runtime: str, whole: Path, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    smaller = tmp_path / "smaller"
    recipe = Recipe.model_validate({"side": SIDE, "prune": PRUNE, "runtime": runtime})
    record = optimize(baseline, recipe, calibration, smaller).passes["prune"]
    before, after = macs(whole), macs(smaller)
    # PyTorch computes keys and values of the cross-attention with the first word, the graphs with the encoder.
    for part in ("token",) if runtime == "pytorch" else ("encode", "token"):
        assert record[f"{part}_left"] == pytest.approx(after[part] / before[part], abs=1e-4)
        assert record[f"{part}_left"] <= 1 - AMOUNT
    if runtime == "pytorch":
        had, has = (sum(own.numel() for own in weights(load_model(folder)).values()) for folder in (whole, smaller))
        assert record["parameters_left"] == pytest.approx(has / had, abs=1e-4)


def test_a_step_takes_as_much_less_as_there_are_fewer_tokens(
    runtime: str, whole: Path, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer"
    recipe = Recipe.model_validate({"side": SIDE, "vocabulary": {}, "runtime": runtime})
    record = optimize(baseline, recipe, calibration, fewer).passes["vocabulary"]
    width = load_model(baseline).config.text_config.hidden_size
    saved = (record["tokens"] - record["tokens_kept"]) * width
    before, after = macs(whole), macs(fewer)
    assert {part: before[part] - after[part] for part in before} == {"encode": 0, "prefill": saved, "token": saved}
    if runtime == "pytorch":
        had, has = (sum(own.numel() for own in load_model(folder).parameters()) for folder in (whole, fewer))
        # Its weight is no longer the embedding's, and its bias no longer of all.
        assert has - had == record["tokens_kept"] * (width + 1) - record["tokens"]
