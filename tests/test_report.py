import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.dataset import make_dataset
from stages.page.charts import draw_examples, draw_speed
from stages.params import Noise
from stages.report import as_text, choose_examples, gather_captions, print_table, write_report

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


def write_a_report(tmp_path: Path, model: str, own: dict[str, list[str]], worst_db: float = 35.0) -> str:
    """The page of a report with made-up figures of pictures without captions, in `tmp_path / "eval"`."""
    names = ("speedup", "latency_ms", "encode_ms", "prefill_ms", "token_ms", "throughput_images_per_s")
    times = {f"{name}{end}": 2.0 for name in names for end in ("", "_ci_low", "_ci_high")}
    times |= {"load_s": 1.0, "load_speedup": 5.5, "peak_memory_mb": 100.0, "peak_memory_share": 0.33}
    times |= {"throughput_speedup": 4.4, "checkpoint_mb": 10.0, "roofline_share": 0.625}
    alone = {f"same_caption_in_batch{end}": 0.75 for end in ("", "_ci_low", "_ci_high")}
    quality = {
        f"{name}{end}": 0.5 for name in ("same_caption", "same_next_token", "kl") for end in ("", "_ci_low", "_ci_high")
    }
    metrics = {
        name: {"benchmark": times, "quality": {"images": 2, **alone, **({} if name == "baseline" else quality)}}
        for name in own
    }
    for name, figures in metrics.items():
        if name != "baseline":
            figures["quality"]["worst_int8_layer_db"] = worst_db
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
    write_report(model, metrics, own, tmp_path / "eval", tmp_path)
    return (tmp_path / "report.md").read_text(encoding="utf-8")


def test_untrained_weights_are_reported_without_caption_scores(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    own = {"baseline": ["word1 | word2", ""], "quantized": ["word1", ""]}
    page = write_a_report(tmp_path, "blip-base-untrained", own)
    assert "A CPU" in page
    assert "CIDEr" not in page
    assert "| 2.0 (2.0–2.0), 4.4x | 1.0, 5.5x | 100, 33 % | 10.0 | 62 % |" in page
    assert "The weights are untrained or the pictures uncaptioned" in page
    assert "word1 \\| word2" in page
    assert Image.open(tmp_path / "examples.png").width > 500


ODD = [
    "a sign that says $5 or $10",
    "costs $5",
    "x_1^2 \\frac{a}{b} $\\frac{$",
    "two\nlines\r\n\tand \x1b[31mred\x00",
    "x" * 500,
    "word " * 500,
    "一只狗 🐕 in a park",
    "كلب في الحديقة",
    "\u202eback to front",
]


@pytest.mark.parametrize("caption", ODD)
def test_any_caption_can_be_drawn(tmp_path: Path, picture_files: list[Path], caption: str) -> None:
    with warnings.catch_warnings(action="error"):
        draw_examples([(picture_files[0], {"base$line_": caption, "b": "a dog"})], tmp_path / "examples.png")
    assert Image.open(tmp_path / "examples.png").height < 1500


def test_a_dollar_sign_is_drawn_as_it_is(tmp_path: Path, picture_files: list[Path]) -> None:
    drawn = []
    for caption in ("from $5 to $9", "from 5 to 9"):
        draw_examples([(picture_files[0], {"baseline": caption})], tmp_path / "examples.png")
        drawn.append(Image.open(tmp_path / "examples.png").tobytes())
    assert drawn[0] != drawn[1]
    times = {"speedup": 2.0, "speedup_ci_low": 1.5, "speedup_ci_high": 2.5}
    draw_speed({"baseline": times, "$\\frac{$": times}, tmp_path / "speed.png")


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("a | b", "a \\| b"),
        ("<script>alert(1)</script> & co", "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co"),
        ("*bold* _slanted_ `code` ~~gone~~ $x$", "\\*bold\\* \\_slanted\\_ \\`code\\` \\~\\~gone\\~\\~ \\$x\\$"),
        ("[link](x) ![picture](y)", "\\[link\\](x) !\\[picture\\](y)"),
        ("a\\b", "a\\\\b"),
        ("two\nlines\x1b", "two lines\\\\x1b"),
        ("onnx_int8, sitting.", "onnx_int8, sitting."),
    ],
)
def test_captions_and_references_come_out_as_text(tmp_path: Path, caption: str, text: str) -> None:
    assert as_text(caption) == text
    (tmp_path / "eval/images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "eval/images/0.png")
    content = {"images": [{"id": 0, "file_name": "0.png"}], "annotations": [{"image_id": 0, "caption": caption}]}
    (tmp_path / "eval/captions.json").write_text(json.dumps(content))
    page = write_a_report(tmp_path, f"model {caption}", {"baseline": [caption], "quantized": ["a dog"]})
    assert f"# model {text}: how fast" in page
    assert f"| baseline | {text} |" in page
    assert f"| a reference | {text} |" in page


def test_a_layer_that_int8_spoils_is_a_warning_whatever_the_sample_says(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    own = {"baseline": ["a dog", "a cat"], "quantized": ["a dog", "a cat"]}
    assert "Warning" not in write_a_report(tmp_path, "mine", own)
    assert "**Warning: quantized's captions will suffer" in write_a_report(tmp_path, "mine", own, worst_db=7.5)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["", "null", "NA", "nan", "007", "1e5", "TRUE", '"', '"a", b', "a\r\nb", " a ", "é|中"])
        | st.text(st.characters(codec="utf-8", exclude_characters="\0\r")),
        min_size=1,
    )
)
def test_captions_come_back_from_disk_as_they_are(own: list[str]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "quality").mkdir()
        table = pd.DataFrame({"image": "0.png", "caption": own, "tokens": ["1 2"] * len(own)})
        table.to_csv(Path(folder) / "quality/baseline.csv", index=False)
        assert gather_captions(["baseline"], Path(folder)) == {"baseline": own}


def test_the_table_shows_captions_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"speedup": 1.0, "speedup_ci_low": 1.0, "speedup_ci_high": 1.0, "latency_ms": 1.0}
    print_table("a[/b]", {"baseline": {"benchmark": times, "quality": {}}}, {"baseline": ["[red]x[/] :smile: \x1b"]})
    assert r"[red]x[/] :smile: \x1b" in capsys.readouterr().out
