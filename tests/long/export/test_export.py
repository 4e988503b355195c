"""Graphs with settings other than the usual ones."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from PIL import Image

from stages.captioner.checkpoint import read_manifest
from stages.captioner.command_line import InputError
from stages.captioner.instruction_sets import overflows
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import load_model
from stages.optimize import optimize
from stages.setup.params import Quantize, Recipe
from tests.conftest import Build
from tests.export.test_export import (
    test_in_int8_a_trained_model_goes_on_with_the_baselines_tokens,  # noqa: F401  (tried with the checkpoint below)
)

ONNX_8_BITS = Recipe(runtime="onnxruntime", quantize=Quantize(scheme="dynamic-int8", weight_bits=8))
OPENVINO_8_BITS = Recipe(runtime="openvino", quantize=Quantize(scheme="static-int8", weight_bits=8))


@pytest.fixture
def in_int8(build_demo: Build) -> Path:
    return build_demo("openvino_pruned_dynamic_int8")


@pytest.mark.parametrize(("recipe", "name"), [(ONNX_8_BITS, "onnx_int8"), (OPENVINO_8_BITS, "openvino_int8")])
def test_weights_of_8_bits_need_vnni_and_are_refused_without(
    recipe: Recipe,
    name: str,
    build: Build,
    baseline: Path,
    calibration: Path,
    tmp_path: Path,
    pictures: list[Image.Image],
) -> None:
    checkpoint = tmp_path / "eight_bits"
    if overflows(8):
        brought = Path(shutil.copytree(build(name), tmp_path / "brought")) / "checkpoint.json"
        brought.write_text(brought.read_text().replace('"weight_bits": 7', '"weight_bits": 8'))
        with pytest.raises(InputError, match="brought has weights of 8 bits, whose products overflow on this CPU"):
            open_captioner(tmp_path / "brought", threads=1)
        with pytest.raises(InputError, match="as it has no VNNI: use weight_bits: 7"):
            optimize(baseline, recipe, calibration, checkpoint)
        assert not checkpoint.exists()
    else:
        assert optimize(baseline, recipe, calibration, checkpoint).passes["quantize"]["weight_bits"] == 8
        assert open_captioner(checkpoint, threads=1).caption(pictures[:1], Decoding(max_new_tokens=2))


@pytest.mark.parametrize("recipe", [ONNX_8_BITS, OPENVINO_8_BITS])
def test_weights_of_8_bits_use_them(
    recipe: Recipe, baseline: Path, calibration: Path, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    exporter = importlib.import_module(f"stages.export.{recipe.runtime}")
    pixels = [np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)]
    record = exporter.export(load_model(baseline), recipe.quantize, [], [], pixels, tmp_path)
    assert record["quantize"]["weight_bits"] == 8
    assert max(np.abs(weights.astype(int)).max() for weights in int8_weights(tmp_path, "encoder")) > 64


def int8_weights(folder: Path, graph: str) -> list[np.ndarray]:
    """The int8 constants of an exported graph."""
    if (folder / f"{graph}.onnx").exists():
        tensors = onnx.load(folder / f"{graph}.onnx").graph.initializer
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in tensors]
    else:
        nodes = openvino.Core().read_model(folder / f"{graph}.xml").get_ops()
        arrays = [node.data for node in nodes if node.get_type_name() == "Constant"]
    return [array for array in arrays if array.dtype == np.int8]


def test_settings_of_the_engine_are_in_the_checkpoint(
    build: Build, baseline: Path, calibration: Path, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    defaults = read_manifest(build("openvino_int8")).passes["quantize"]
    assert (defaults["weight_bits"], defaults["encoder_product"]) == (7, "convolution")
    assert defaults["dynamic_quantization_group"] == "auto"
    own = Quantize(scheme="static-int8", encoder_product="matmul", dynamic_quantization_group=32)
    record = optimize(baseline, Recipe(runtime="openvino", quantize=own), calibration, tmp_path / "own").passes
    assert record["quantize"]["dynamic_quantization_group"] == 32
    operators = [
        operation.get_type_name() for operation in openvino.Core().read_model(tmp_path / "own/encoder.xml").get_ops()
    ]
    assert operators.count("Convolution") == 1, "only the patches"
    (text,) = open_captioner(tmp_path / "own", threads=1).caption(pictures[:1], Decoding())
    assert isinstance(text, str)
