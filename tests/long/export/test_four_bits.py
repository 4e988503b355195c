"""Weights of 4 bits in the decoder: fewer bytes, and 8 bits where 4 would spoil a layer."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.captioner.checkpoint import Manifest
from stages.optimize import optimize
from stages.setup.params import Quantize, Recipe
from tests.conftest import DYNAMIC, STATIC, tiny_model
from tests.long.export.test_outliers import download_model, next_logits

Made = Callable[[Recipe], tuple[Path, Manifest]]
LAYER = "text_decoder.bert.encoder.layer.0"
SPOILED = f"{LAYER}.output.dense"
SHARED = f"{LAYER}.attention.self.key"  # computed in one product with the queries and values
TOGETHER = {f"{LAYER}.attention.self.{part}" for part in ("query", "key", "value")}
EIGHT = {
    "onnx_int8": Recipe(runtime="onnxruntime", quantize=DYNAMIC),
    "openvino_int8": Recipe(runtime="openvino", quantize=STATIC),
}


def four(recipe: Recipe, **more: float) -> Recipe:
    assert recipe.quantize
    quantize = Quantize.model_validate(
        recipe.quantize.model_dump(exclude_unset=True) | {"decoder_weight_bits": 4} | more
    )
    return recipe.model_copy(update={"quantize": quantize})


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of which two layers have a weight in each row that reaches far above the others, for a weak channel."""
    model = tiny_model()
    with torch.no_grad():
        for name, channel in ((SPOILED, 3), (SHARED, 5)):
            model.get_parameter(f"{name}.weight")[:, channel] *= 30
        for name, channel in (("encoder.layer.0.intermediate.dense", 3), ("embeddings.LayerNorm", 5)):
            for part in ("weight", "bias"):
                model.get_parameter(f"text_decoder.bert.{name}.{part}")[channel] /= 30
    return download_model(model, tmp_path_factory.mktemp("spoiled"))


@pytest.fixture(scope="module")
def made(spoiled: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What recipes make of it, each once."""
    folder = tmp_path_factory.mktemp("made")
    manifests = dict[str, Manifest]()

    def make(recipe: Recipe) -> tuple[Path, Manifest]:
        key = recipe.model_dump_json(exclude_defaults=True)
        target = folder / sha256(key.encode()).hexdigest()
        if key not in manifests:
            manifests[key] = optimize(spoiled, recipe, calibration, target)
        return target, manifests[key]

    return make


def bytes_of_decoder(checkpoint: Path) -> int:
    return sum(file.stat().st_size for file in checkpoint.glob("decoder*") if file.suffix in (".bin", ".data"))


@pytest.mark.parametrize("name", EIGHT)
def test_layers_that_4_bits_would_spoil_stay_in_8(name: str, spoiled: Path, calibration: Path, made: Made) -> None:
    exact, errors, sizes = next_logits(spoiled, calibration), {}, {}
    manifests = dict[str, Manifest]()
    for kind, recipe in (
        ("eight", EIGHT[name]),
        ("plain", four(EIGHT[name])),
        ("protected", four(EIGHT[name], float_below_db=12)),
    ):
        checkpoint, manifests[kind] = made(recipe)
        errors[kind] = float(np.std(next_logits(checkpoint, calibration) - exact) / np.std(exact))
        sizes[kind] = bytes_of_decoder(checkpoint)
    record = manifests["protected"].passes["quantize"]
    assert set(record["layers_in_int8"]) == {SPOILED} | TOGETHER
    assert max(record["layers_in_int8"][name] for name in (SPOILED, SHARED)) < 12
    assert min(record["int4_layers_db"].values()) >= 12
    assert manifests["plain"].passes["quantize"]["layers_in_int8"] == {}
    weights = tiny_model().get_parameter(f"{SPOILED}.weight").numel()
    weights += 3 * tiny_model().get_parameter(f"{SHARED}.weight").numel()  # queries and values, too
    assert sizes["plain"] + weights // 2 <= sizes["protected"] < sizes["eight"]
    assert errors["eight"] < errors["protected"] < errors["plain"]


@pytest.mark.parametrize(
    ("recipe", "in_float"),
    [
        (Recipe(quantize=DYNAMIC), {SHARED}),
        (EIGHT["onnx_int8"], TOGETHER),
        (four(EIGHT["onnx_int8"]), TOGETHER),
    ],
)
def test_what_one_product_computes_stays_in_float_together(recipe: Recipe, in_float: set[str], made: Made) -> None:
    errors = made(recipe)[1].passes["quantize"]["int8_layers_db"]
    bound = (errors[SHARED] + min(errors[name] for name in TOGETHER - {SHARED})) / 2
    quantize = recipe.quantize.model_copy(update={"float_below_db": bound})  # type: ignore[union-attr]
    protected = recipe.model_copy(update={"quantize": quantize})
    record = made(protected)[1].passes["quantize"]
    assert record["layers_in_float"].keys() & TOGETHER == in_float
    others = record["int8_layers_db"] | record.get("layers_in_int8", {}) | record.get("int4_layers_db", {})
    assert not others.keys() & in_float
