import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.preprocessing import Preprocessing, Size, preprocess, read_preprocessing


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    side=st.sampled_from([32, 128, 384]),
    resample=st.sampled_from([Image.Resampling.BICUBIC, Image.Resampling.BILINEAR]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_pixels_are_those_of_transformers_to_within_a_rounding_step(
    width: int, height: int, side: int, resample: Image.Resampling, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, size=(2, height, width, 3), dtype=np.uint8)
    images = [Image.fromarray(picture) for picture in noise]
    processor = BlipImageProcessorPil(size={"height": side, "width": side}, resample=resample)
    expected = processor(images=images, return_tensors="np")["pixel_values"]
    actual = preprocess(images, Preprocessing(size=Size(height=side, width=side), resample=resample))
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape == (2, 3, side, side)
    step = 1 / 255 / 0.2613  # a rounding step is 1 of 255, divided by the smallest standard deviation
    assert np.abs(actual - expected).max() < step / 1000


def test_what_a_preprocessor_leaves_out_is_blips_own(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 96, "width": 64}, "resample": 3}))
    processor = BlipImageProcessorPil(size={"height": 96, "width": 64})
    image = Image.effect_noise((50, 40), 80).convert("RGB")
    expected = processor(images=[image], return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(preprocess([image], read_preprocessing(tmp_path)), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{"do_resize": False}, {"size": {"shortest_edge": 224}}, {"resample": 99}])
def test_another_way_to_prepare_pictures_is_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="is not BLIP's way"):
        read_preprocessing(tmp_path)
