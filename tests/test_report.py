import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.dataset import make_dataset
from stages.params import Noise
from stages.report import choose_examples, write_report

captions = st.integers(1, 12).flatmap(
    lambda pictures: st.fixed_dictionaries(
        {
            name: st.lists(st.sampled_from(["a dog", "a cat"]), min_size=pictures, max_size=pictures)
            for name in ("baseline", "quantized")
        }
    )
)


@given(captions, st.integers(1, 6))
def test_examples_show_agreement_and_difference(own: dict[str, list[str]], count: int) -> None:
    chosen = choose_examples(own, count)
    pictures = len(own["baseline"])
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, pictures)
    differing = {index for index in range(pictures) if own["baseline"][index] != own["quantized"][index]}
    if count > 1:
        assert bool(differing & set(chosen)) == bool(differing)


def test_untrained_weights_are_reported_without_caption_scores(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    names = ("speedup", "latency_ms", "encode_ms", "prefill_ms", "token_ms", "throughput_images_per_s")
    times = {f"{name}{end}": 2.0 for name in names for end in ("", "_ci_low", "_ci_high")}
    times |= {"load_s": 1.0, "load_speedup": 5.5, "peak_memory_mb": 100.0, "peak_memory_share": 0.33}
    times |= {"throughput_speedup": 4.4, "checkpoint_mb": 10.0, "roofline_share": 0.625}
    alone = {f"same_caption_in_batch{end}": 0.75 for end in ("", "_ci_low", "_ci_high")}
    quality = {
        f"{name}{end}": 0.5 for name in ("same_caption", "same_next_token", "kl") for end in ("", "_ci_low", "_ci_high")
    }
    metrics = {
        "baseline": {"benchmark": times, "quality": {"images": 2, **alone}},
        "quantized": {"benchmark": times, "quality": {"images": 2, **alone, **quality}},
    }
    machine = {
        "cpu": "A CPU",
        "cpu_family_model_stepping": "1/2/3",
        "cores": 2,
        "memory_gb": 24,
        "operating_system": "Linux",
        "instruction_sets": ["avx2"],
        "python": "3.11",
        "libraries": {"torch": "2"},
    }
    (tmp_path / "host.json").write_text(json.dumps(machine))
    peaks = {"gops": {"float32": 184.0, "int8": 860.0}, "read_gb_per_s": {"4": 80, "256": 61}}
    (tmp_path / "peaks.json").write_text(json.dumps(peaks))
    own = {"baseline": ["word1 | word2", ""], "quantized": ["word1", ""]}
    write_report("blip-base-untrained", metrics, own, tmp_path / "eval", tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "A CPU" in page
    assert "CIDEr" not in page
    assert "| 2.0 (2.0–2.0), 4.4x | 1.0, 5.5x | 100, 33 % | 10.0 | 62 % |" in page
    assert "The weights are untrained or the pictures uncaptioned" in page
    assert "word1 \\| word2" in page
    assert Image.open(tmp_path / "examples.png").width > 500
