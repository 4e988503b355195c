import pytest
from transformers import BlipConfig

from stages.measure.roofline import Peaks, arithmetic, shortest_seconds
from tests.conftest import tiny_model


def test_the_arithmetic_counts_every_weight_of_a_model() -> None:
    model = tiny_model()
    work = arithmetic(model.config.to_dict())
    patches = 1 + (128 // 32) ** 2
    matrices = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim in (2, 4)}
    cross = sum(
        size for name, size in matrices.items() if "crossattention.self.key" in name or "crossattention.self.v" in name
    )
    vision = sum(size for name, size in matrices.items() if name.startswith("vision_model"))
    assert work.linear == 2 * patches * (vision + cross)
    decoder = sum(size for name, size in matrices.items() if "text_decoder" in name and "position" not in name)
    # The tied word embedding stands for the output layer, which is as large; only a row of it is read as embedding.
    keys_and_values = 2 * 2 * patches * 32
    assert work.weights_per_token == decoder - cross + keys_and_values


def test_full_size_blip_needs_what_was_counted_by_hand() -> None:
    config = BlipConfig(vision_config={"image_size": 384}, text_config={"vocab_size": 30524})
    work = arithmetic(config.to_dict())
    assert work.linear / 1e9 == pytest.approx(115, rel=0.02)
    assert work.attention / 1e9 == pytest.approx(12.5, rel=0.03)


def test_halving_the_bytes_shortens_the_wait_for_memory() -> None:
    work = arithmetic(tiny_model().config.to_dict())
    peaks = Peaks({"int8": 400, "bfloat16": 200, "float32": 100}, {"4": 10, "64": 10, "256": 10})
    int8, float32 = (shortest_seconds(work, peaks, 10, kind, kind) for kind in ("int8", "float32"))
    assert float32 == pytest.approx(4 * int8)


def test_what_fits_into_a_cache_is_read_as_fast_as_a_cache_is() -> None:
    peaks = Peaks({}, {"4": 60, "64": 30, "256": 20})
    sizes = {1e3: 60e9, 5 << 20: 60e9, 100e6: 30e9, 256 << 20: 20e9, 1e9: 20e9}
    assert {size: peaks.bandwidth(size) for size in sizes} == sizes
