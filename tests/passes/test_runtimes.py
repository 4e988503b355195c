"""What passes make of a model, every runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.captioner.checkpoint import read_manifest
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.pytorch import load_model
from stages.optimize import optimize
from stages.setup.params import Recipe

PASSES: dict[str, dict[str, Any]] = {
    "side": {"side": 96},
    "vocabulary": {"vocabulary": {}},
    "tokens": {"tokens": {"merged": 0.2}},
    "shorten": {"shorten": 0.5},
    "prune": {"prune": {"method": "structured", "amount": 0.08}},
}
ALL = {key: value for own in PASSES.values() for key, value in own.items()}


@pytest.fixture
def recipe() -> Recipe:
    """All of them at once; tests/long/passes tries each alone."""
    return Recipe.model_validate(ALL)


def test_every_runtime_computes_what_the_changed_model_does(
    recipe: Recipe, baseline: Path, calibration: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    optimize(baseline, recipe, calibration, tmp_path / "pytorch")
    model, manifest = load_model(tmp_path / "pytorch"), read_manifest(tmp_path / "pytorch")
    words, start = [7, 8, 9], model.config.text_config.bos_token_id
    for runtime in ("pytorch", "onnxruntime", "openvino"):
        own = tmp_path / runtime
        if runtime != "pytorch":
            passes = optimize(baseline, recipe.model_copy(update={"runtime": runtime}), calibration, own).passes
            assert passes == manifest.passes
        with open_captioner(own) as captioner:
            parts = captioner.parts
            pixels = parts.preprocess(pictures[:1])
            (logits,) = parts.next_token_logits(parts.encode(pixels), [words])
            assert len(captioner.caption(pictures)) == len(pictures)
        with torch.inference_mode():
            seen = torch.as_tensor(np.asarray(pixels))
            expected = model(pixel_values=seen, input_ids=torch.tensor([[start, *words]])).logits[0].numpy()
        # An engine may compute in bfloat16, which has 8 bits.
        np.testing.assert_allclose(logits, expected, atol=0.05 * float(np.abs(expected).max()))
