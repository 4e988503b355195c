"""Multiply-adds of a smaller model, in every runtime."""

from pathlib import Path

import pytest
from transformers import BlipForConditionalGeneration

from stages.download import download
from stages.optimize import optimize
from stages.setup.params import FolderSource
from stages.timing.products import count_products
from tests.conftest import RECIPES, Build, save_model, tiny_model
from tests.timing.test_products import LENGTH, macs, read


@pytest.mark.parametrize("name", ["quantized", "onnx_int8", "openvino_int8"])
def test_fewer_neurons_are_less_arithmetic(
    name: str, build: Build, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_model().config
    config.vision_config.intermediate_size, config.text_config.intermediate_size = 40, 24
    save_model(BlipForConditionalGeneration(config).eval(), tmp_path / "data" / "local" / "smaller")
    monkeypatch.chdir(tmp_path)
    download(FolderSource(folder="data/local/smaller"), Path("models/baseline"))
    optimize(Path("models/baseline"), RECIPES[name], calibration, Path("models/smaller"))
    whole, smaller = count_products(build(name), LENGTH), count_products(Path("models/smaller"), LENGTH)
    saved = {"encode": 2 * 17 * 2 * 32 * 24, "prefill": 2 * 2 * 32 * 40, "token": 2 * 2 * 32 * 40}
    assert {part: macs(whole[part]) - macs(smaller[part]) for part in whole} == saved
    assert all(read(smaller[part]) < read(whole[part]) for part in whole)
