"""Checkpoints of the tiny model for each runtime, built by `optimize` once for all tests here."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

from stages.optimize import optimize
from stages.params import Prune, Quantize, Recipe

PRUNE = Prune(method="l1_unstructured", amount=0.3)
DYNAMIC, STATIC = Quantize(scheme="dynamic-int8"), Quantize(scheme="static-int8")
RECIPES = {
    "quantized": Recipe(quantize=DYNAMIC),
    "onnx": Recipe(runtime="onnxruntime"),
    "onnx_int8": Recipe(runtime="onnxruntime", quantize=DYNAMIC),
    "onnx_pruned_int8": Recipe(runtime="onnxruntime", prune=PRUNE, quantize=DYNAMIC),
    "openvino": Recipe(runtime="openvino"),
    "openvino_int8": Recipe(runtime="openvino", quantize=STATIC),
    "openvino_pruned_dynamic_int8": Recipe(runtime="openvino", prune=PRUNE, quantize=DYNAMIC),
}
Build = Callable[[str], Path]


@pytest.fixture(scope="session")
def build(baseline: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a recipe's checkpoint, once per test run, whichever of its processes comes first. Not to be changed."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "exported"
    folder.mkdir(exist_ok=True)

    @cache
    def build_once(name: str) -> Path:
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                optimize(baseline, RECIPES[name], calibration, folder / name)
        return folder / name

    return build_once
