import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.nn.utils.prune import L1Unstructured
from transformers import BlipForConditionalGeneration

from stages.captioner.checkpoint import MANIFEST, WEIGHTS, read_manifest, sha256
from stages.captioner.command_line import InputError
from stages.captioner.runtimes import pytorch_int8
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.pytorch import PyTorchCaptioner, load_model
from stages.optimize import optimize
from stages.passes import apply_recipe
from stages.setup.params import Prune, Quantize, Recipe
from tests.conftest import with_weights

QUANTIZED = Recipe(quantize=Quantize(scheme="dynamic-int8"))
PRUNED = Recipe(prune=Prune(method="l1_unstructured", amount=0.3))
PRUNED_QUANTIZED = Recipe(prune=PRUNED.prune, quantize=QUANTIZED.quantize)


def logits(
    model: BlipForConditionalGeneration, pictures: list[Image.Image], captioner: PyTorchCaptioner
) -> torch.Tensor:
    tokens = torch.arange(12).reshape(2, 6)
    with torch.inference_mode():
        return model(pixel_values=captioner.preprocess(pictures[:2]), input_ids=tokens).logits


@pytest.mark.parametrize("recipe", [QUANTIZED, PRUNED, PRUNED_QUANTIZED])
def test_a_reloaded_checkpoint_gives_bit_identical_logits(
    recipe: Recipe, baseline: Path, tmp_path: Path, calibration: Path, pictures: list[Image.Image]
) -> None:
    captioner = open_captioner(baseline).parts
    in_memory = copy.deepcopy(captioner.model)
    apply_recipe(in_memory, recipe, calibration=[])
    if recipe.quantize:
        pytorch_int8.apply(in_memory)
    optimize(baseline, recipe, calibration, tmp_path / "variant")
    reloaded = logits(load_model(tmp_path / "variant"), pictures, captioner)
    assert torch.equal(reloaded, logits(in_memory, pictures, captioner))
    assert not torch.equal(reloaded, logits(captioner.model, pictures, captioner))


def test_two_builds_give_identical_bytes(baseline: Path, tmp_path: Path, calibration: Path) -> None:
    for name in ("one", "two"):
        optimize(baseline, PRUNED_QUANTIZED, calibration, tmp_path / name / "variant")
    first, second = (
        {file.name: sha256(file) for file in (tmp_path / name / "variant").iterdir()} for name in ("one", "two")
    )
    assert first == second


def test_every_linear_weight_is_int8_and_nothing_is_pickled(baseline: Path, tmp_path: Path, calibration: Path) -> None:
    optimize(baseline, QUANTIZED, calibration, tmp_path / "variant")
    linear = [name for name, layer in load_model(baseline).named_modules() if isinstance(layer, torch.nn.Linear)]
    with safe_open(tmp_path / "variant" / WEIGHTS, "pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(f"{name}.weight_int8").dtype for name in linear} == {torch.int8}
    assert not names & {f"{name}.weight" for name in linear}


def test_the_reached_sparsity_is_recorded_per_layer(baseline: Path, tmp_path: Path, calibration: Path) -> None:
    record = optimize(baseline, PRUNED, calibration, tmp_path / "variant").passes["prune"]
    model = load_model(tmp_path / "variant")
    linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert record["sparsity_per_layer"].keys() == linear.keys()
    for name, layer in linear.items():
        zeros = float((layer.weight == 0).float().mean())
        assert zeros == pytest.approx(0.3, abs=0.01)
        assert record["sparsity_per_layer"][name] == pytest.approx(zeros, abs=1e-4)


def test_pruning_takes_the_smallest_weights(baseline: Path) -> None:
    model = load_model(baseline)
    before = copy.deepcopy(model)
    apply_recipe(model, PRUNED, calibration=[])
    name = "vision_model.encoder.layers.0.mlp.fc1"
    kept = model.get_submodule(name).weight != 0
    magnitudes = before.get_submodule(name).weight.abs()
    assert magnitudes[kept].min() >= magnitudes[~kept].max()
    mask = L1Unstructured(amount=0.3).compute_mask(before.get_submodule(name).weight, torch.ones(kept.shape))
    assert torch.equal(kept, mask.bool())


def test_a_plain_float_checkpoint_opens_in_transformers_itself(
    baseline: Path, tmp_path: Path, calibration: Path, pictures: list[Image.Image]
) -> None:
    optimize(baseline, PRUNED, calibration, tmp_path / "variant")
    theirs = BlipForConditionalGeneration.from_pretrained(tmp_path / "variant").eval()
    captioner = open_captioner(baseline).parts
    ours = logits(load_model(tmp_path / "variant"), pictures, captioner)
    assert torch.equal(ours, logits(theirs, pictures, captioner))


def test_the_manifest_tells_where_a_checkpoint_came_from(baseline: Path, tmp_path: Path, calibration: Path) -> None:
    optimize(baseline, PRUNED_QUANTIZED, calibration, tmp_path / "variant")
    manifest = read_manifest(tmp_path / "variant")
    assert manifest.recipe == {
        "prune": {"method": "l1_unstructured", "amount": 0.3},
        "quantize": {"scheme": "dynamic-int8"},
    }
    assert manifest.origin == read_manifest(baseline).origin
    assert torch.__version__.startswith(manifest.libraries["torch"])  # the package leaves out "+cu130", not "+cpu"
    assert "timestamp" not in json.dumps(manifest.model_dump())


def scaled(name: str, factor: float) -> Callable[[BlipForConditionalGeneration], None]:
    return lambda model: model.get_parameter(name).mul_(factor)  # type: ignore[return-value]


def all_scaled(factor: float) -> Callable[[BlipForConditionalGeneration], None]:
    def change(model: BlipForConditionalGeneration) -> None:
        for parameter in model.parameters():
            parameter.mul_(factor)

    return change


FC1 = "vision_model.encoder.layers.0.mlp.fc1"
OVERFLOWING = {
    f"{FC1}.weight": 1e38,
    "vision_model.encoder.layers.1.self_attn.qkv.weight": 1e30,  # each of which is finite, but not their products
    "vision_model.post_layernorm.weight": 3e38,
    "text_decoder.bert.encoder.layer.1.crossattention.self.query.weight": 1e38,
    "text_decoder.bert.embeddings.LayerNorm.weight": 3e38,
    "text_decoder.cls.predictions.transform.LayerNorm.weight": 3e38,
}
EQUALIZED_QUANTIZED = Recipe(equalize=True, quantize=QUANTIZED.quantize)
STATIC = Recipe(runtime="openvino", quantize=Quantize(scheme="static-int8"))


@pytest.mark.parametrize("name", OVERFLOWING)
@pytest.mark.parametrize("recipe", [PRUNED, EQUALIZED_QUANTIZED, STATIC], ids=["pruned", "equalized", "static"])
def test_numbers_that_overflow_on_calibration_name_the_layer(
    baseline: Path, tmp_path: Path, calibration: Path, name: str, recipe: Recipe
) -> None:
    source = with_weights(baseline, tmp_path / "baseline", scaled(name, OVERFLOWING[name]))
    with pytest.raises(InputError, match=r"^(vision_model|text_decoder)\..* (takes in|gives) inf or NaN"):
        optimize(source, recipe, calibration, tmp_path / "variant")
    assert not (tmp_path / "variant").exists()


def assert_finite(checkpoint: Path) -> None:
    """What is recorded of passes is something, and numbers."""
    assert json.loads((checkpoint / MANIFEST).read_text(), parse_constant=pytest.fail)["passes"]


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        (EQUALIZED_QUANTIZED, all_scaled(0)),
        (EQUALIZED_QUANTIZED, all_scaled(1e-40)),
        (QUANTIZED, scaled(f"{FC1}.weight", 0)),
    ],
)
def test_weights_of_nothing_or_almost_nothing_give_finite_records(
    baseline: Path,
    tmp_path: Path,
    calibration: Path,
    recipe: Recipe,
    change: Callable[[BlipForConditionalGeneration], None],
) -> None:
    source = with_weights(baseline, tmp_path / "baseline", change)
    optimize(source, recipe, calibration, tmp_path / "variant")
    assert_finite(tmp_path / "variant")


def test_large_weights_that_do_not_overflow_give_finite_records(
    baseline: Path, tmp_path: Path, calibration: Path
) -> None:
    name = "text_decoder.bert.encoder.layer.1.crossattention.self.query.weight"
    source = with_weights(baseline, tmp_path / "baseline", scaled(name, 1e22))  # whose square is too large for float32
    manifest = optimize(source, EQUALIZED_QUANTIZED, calibration, tmp_path / "variant")
    assert np.isfinite(list(manifest.passes["quantize"]["int8_layers_db"].values())).all()


def test_a_missing_baseline_is_one_sentence(tmp_path: Path, calibration: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint"):
        optimize(tmp_path / "absent", QUANTIZED, calibration, tmp_path / "variant")
    assert not (tmp_path / "variant").exists()
