import numpy as np
import pytest
import torch
from transformers import BlipForConditionalGeneration

from stages.export.graphs import EncoderGraph
from stages.export.layer_norms import fold_layer_norms
from tests.conftest import tiny_model

NORMS = 2 * 2 + 1  # two a layer, and the last
OUTLIER = 7


@pytest.fixture
def model() -> BlipForConditionalGeneration:
    """A tiny model whose norms have scales and offsets, as trained ones have."""
    model = tiny_model()
    with torch.no_grad():
        for name, parameter in model.vision_model.named_parameters():
            if "norm" in name:
                parameter += 0.3 * torch.rand_like(parameter)
    return model


@pytest.fixture
def pixels() -> list[np.ndarray]:
    """Calibration pixels of three pictures."""
    return list(np.random.default_rng(0).normal(size=(3, 1, 3, 128, 128)).astype(np.float32))


@torch.no_grad()
def keys_and_values(model: BlipForConditionalGeneration, pixels: list[np.ndarray]) -> list[torch.Tensor]:
    return [state for picture in pixels for state in EncoderGraph(model)(torch.from_numpy(picture))]


def folded_norms(model: BlipForConditionalGeneration) -> list[bool]:
    """Of each norm, whether it has neither scale nor offset."""
    norms = [module for module in model.vision_model.modules() if isinstance(module, torch.nn.LayerNorm)]
    return [bool((norm.weight == 1).all()) and not norm.bias.any() for norm in norms]


def test_folding_changes_no_result(model: BlipForConditionalGeneration, pixels: list[np.ndarray]) -> None:
    before = keys_and_values(model, pixels)
    assert fold_layer_norms(model, pixels) == NORMS
    assert folded_norms(model) == [True] * NORMS
    for old, new in zip(before, keys_and_values(model, pixels), strict=True):
        assert torch.allclose(old, new, atol=1e-4)


def test_a_norm_that_tames_outliers_keeps_its_scale(
    model: BlipForConditionalGeneration, pixels: list[np.ndarray]
) -> None:
    first, *_ = model.vision_model.encoder.layers
    with torch.no_grad():
        model.vision_model.embeddings.patch_embedding.bias[OUTLIER] = 100
        first.layer_norm1.weight[OUTLIER] = 0.01
    before = keys_and_values(model, pixels)
    fold_layer_norms(model, pixels)
    assert first.layer_norm1.weight[OUTLIER].item() == pytest.approx(0.01)
    assert any(folded_norms(model))
    for old, new in zip(before, keys_and_values(model, pixels), strict=True):
        assert torch.allclose(old, new, atol=1e-4)
