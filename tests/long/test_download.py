"""What every runtime makes of a source whose output layer is not tied to its words."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from stages.captioner.runtimes.captioner import open_captioner
from stages.optimize import optimize
from stages.setup.params import Quantize, Recipe
from tests.conftest import save_tiny_model, tiny_model
from tests.test_download import make_baseline, untie


@pytest.mark.parametrize(
    ("runtime", "scheme"),
    [("pytorch", None), ("pytorch", "dynamic-int8"), ("onnxruntime", "dynamic-int8"), ("openvino", None)],
)
def test_every_export_has_the_logits_of_an_untied_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calibration: Path,
    pictures: list[Image.Image],
    runtime: Literal["pytorch", "onnxruntime", "openvino"],
    scheme: Literal["dynamic-int8"] | None,
) -> None:
    folder = save_tiny_model(tmp_path / "data/local/mine")
    state = {name: tensor.clone() for name, tensor in tiny_model().state_dict().items()}
    untie(weight=True, bias=True)(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    baseline = make_baseline(tmp_path, monkeypatch)
    if scheme is None and runtime == "pytorch":
        checkpoint = baseline
    else:
        checkpoint = tmp_path / "models" / "variant"
        optimize(
            baseline, Recipe(runtime=runtime, quantize=scheme and Quantize(scheme=scheme)), calibration, checkpoint
        )
    captioner, source = open_captioner(checkpoint).parts, open_captioner(baseline).parts
    tokens = [[8, 9, 10]] * len(pictures)
    expected = np.stack(source.next_token_logits(source.encode(source.preprocess(pictures)), tokens))
    actual = np.stack(captioner.next_token_logits(captioner.encode(captioner.preprocess(pictures)), tokens))
    error = np.abs(actual - expected).mean() / np.abs(expected).std()
    assert error < (0.5 if scheme else 1e-3)  # of the wrong tensor it is above 1
