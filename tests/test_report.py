import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.choice.acceptance import Final, Recommendation
from stages.choice.one_run import OneRun
from stages.dataset import make_dataset
from stages.page.charts import draw_examples, draw_speed
from stages.page.kept import Folder
from stages.page.plots import Metrics, difference_rows, part_rows, speed_rows
from stages.page.searches import Study
from stages.page.waterfalls import Waterfall
from stages.records.examples import read_examples
from stages.records.metrics import write_captions
from stages.records.provenance import Provenance
from stages.report import (
    as_text,
    choose_examples,
    gather_captions,
    print_recommendation,
    print_table,
    write_recommendation,
    write_report,
    write_views,
)
from stages.setup.params import Noise, Scenes
from tests.conftest import RunStage, assert_one_sentence
from tests.page.pages import WHOSE, make_project

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


MACHINE = {
    "cpu": "A CPU",
    "cpu_family_model_stepping": "1/2/3",
    "cores": 2,
    "usable_cores": 2,
    "memory_gb": 24,
    "operating_system": "Linux",
    "instruction_sets": ["avx2"],
    "python": "3.11",
    "libraries": {"torch": "2"},
}


NOTHING = Folder(Path("reports/waterfalls"), dict[str, Waterfall](), {})
NOT_SEARCHED = Folder(Path("reports/search"), dict[str, Study](), {})
RECOMMENDATION = Recommendation(
    checkpoint=None,
    sentence="Ship the *baseline*: nothing else passes.",
    tied=[],
    refused={"quantized": ["it takes 20.0 MB on disk, and 10 are allowed", "it is slow"]},
    undecided={"onnx_int8": ["7 pictures can't tell"]},
    pictures_needed=None,
)


def made_up(names: Iterable[str]) -> Metrics:
    """Made-up figures of checkpoints, on pictures without captions."""
    figures = ("speedup", "latency_ms", "encode_ms", "prefill_ms", "token_ms", "throughput_images_per_s")
    times: dict[str, Any] = {f"{name}{end}": 2.0 for name in figures for end in ("", "_ci_low", "_ci_high")}
    times |= {"speedup_width": 0.07, "sessions": 3, "ended": "interval reached", "throughput_speedup": 4.4}
    times |= {"load_s": 1.0, "load_speedup": 5.5, "peak_memory_mb": 100.0, "peak_memory_share": 0.33}
    times |= {"checkpoint_mb": 10.0, "roofline_share": 0.625}
    alone = {f"same_caption_in_batch{end}": 0.75 for end in ("", "_ci_low", "_ci_high")}
    quality = {
        f"{name}{end}": 0.5 for name in ("same_caption", "same_next_token", "kl") for end in ("", "_ci_low", "_ci_high")
    }
    quality["worst_int8_layer_db"] = 35.0
    return {
        name: {"benchmark": {**times}, "quality": {"images": 2, **alone, **({} if name == "baseline" else quality)}}
        for name in names
    }


def write_a_report(
    tmp_path: Path, model: str, own: dict[str, list[str]], metrics: Metrics | None = None, *, trained: bool = True
) -> str:
    """The page of a report on the pictures in `tmp_path / "eval"`."""
    peaks = {"gops": {"float32": 184.0, "int8": 860.0}, "read_gb_per_s": {"4": 80, "256": 61}}
    whose = WHOSE.model_copy(update={"model": model})
    one_run = OneRun(whose, metrics or made_up(own), peaks, Final(), MACHINE, ["another CPU"])
    kept = (NOTHING, NOT_SEARCHED)
    write_report(one_run, own, read_examples(tmp_path / "eval"), *kept, RECOMMENDATION, {}, tmp_path, trained=trained)
    return (tmp_path / "report.md").read_text(encoding="utf-8")


def test_untrained_weights_are_reported_without_caption_scores(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    own = {"baseline": ["word1 | word2", ""], "quantized": ["word1", ""]}
    page = write_a_report(tmp_path, "blip-base-untrained", own, trained=False)
    assert "A CPU" in page
    assert "CIDEr" not in page
    assert "| 2.0 (2.0–2.0), 4.4x | 1.0, 5.5x | 100, 33 % | 10.0 | 62 % |" in page
    assert "The weights are untrained, so times are real while captions mean nothing" in page
    assert "word1 \\| word2" in page
    assert Image.open(tmp_path / "examples.png").width > 500


def test_the_page_begins_with_the_recommendation_and_why_no_other(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    page = write_a_report(tmp_path, "mine", {"baseline": ["a", "b"], "quantized": ["a", "b"]})
    assert page.split("\n**Machine.**")[0].splitlines() == [
        "# mine: how fast, how good",
        "",
        "**Ship the \\*baseline\\*: nothing else passes.**",
        "",
        "- Refused: quantized, as it takes 20.0 MB on disk, and 10 are allowed; it is slow.",
        "- Undecided: onnx_int8, as 7 pictures can't tell.",
    ]


def test_the_page_says_whose_its_figures_are(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    page = write_a_report(tmp_path, "mine", {"baseline": ["a", "b"], "quantized": ["a", "b"]})
    (line,) = [line for line in page.splitlines() if line.startswith("**Figures of** mine: ")]
    for part in (WHOSE.weights, WHOSE.pictures, WHOSE.settings, WHOSE.code, "captions were scored on another CPU"):
        assert part and part in line


def test_the_recommendation_is_written_whole_and_for_dvc_in_a_word(tmp_path: Path) -> None:
    write_recommendation(RECOMMENDATION, WHOSE, tmp_path)
    written = json.loads((tmp_path / "recommendation.json").read_text())
    assert Provenance.model_validate(written.pop("provenance")) == WHOSE
    assert Recommendation.model_validate(written) == RECOMMENDATION
    assert json.loads((tmp_path / "metrics/recommendation.json").read_text()) == {"model": "demo", "ship": "none"}
    write_recommendation(RECOMMENDATION.model_copy(update={"pictures_needed": 368}), WHOSE, tmp_path)
    assert json.loads((tmp_path / "metrics/recommendation.json").read_text())["pictures_needed"] == 368


def test_the_terminal_ends_with_the_recommendation(capsys: pytest.CaptureFixture[str]) -> None:
    print_recommendation(RECOMMENDATION)
    printed = capsys.readouterr().out
    assert "Ship the *baseline*: nothing else passes." in printed
    assert "refused: quantized, as it takes 20.0 MB" in printed and "undecided: onnx_int8" in printed
    assert "open reports/report.html" in printed


def test_figures_that_are_not_there_are_one_sentence(tmp_path: Path, run_stage: RunStage) -> None:
    project = make_project(tmp_path)
    (project / "reports/benchmark/fast.json").unlink()
    assert_one_sentence(run_stage("report", cwd=project), "no reports/benchmark/fast.json: make it with `dvc repro`")


def test_a_damaged_sweep_is_one_sentence_before_anything_is_written(tmp_path: Path, run_stage: RunStage) -> None:
    make_project(tmp_path)
    before = sorted((tmp_path / "reports").rglob("*"))
    sweep = tmp_path / "reports/sweeps/decoding.beams.json"
    sweep.parent.mkdir()
    sweep.write_text('{"knob": "decoding.beams", "values": NaN}')
    assert_one_sentence(run_stage("report", cwd=tmp_path), "reports/sweeps/decoding.beams.json", "delete it or run")
    assert sorted((tmp_path / "reports").rglob("*")) == sorted([*before, sweep.parent, sweep])


def test_agreement_on_uncaptioned_pictures_tells_what_trained_weights_lost(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    page = write_a_report(tmp_path, "mine", {"quantized": ["a cat", "a dog"], "baseline": ["a cat", "a dog"]})
    assert "untrained" not in page and "CIDEr" not in page
    assert "| checkpoint | same in a batch | same caption | same next token | KL, nats | words a step |" in page
    assert "tells if an optimization broke something" in page
    agreement = "the baseline's own caption for 50.0 % (50.0–50.0) and the same next token for 50.0 % (50.0–50.0)"
    assert agreement in page.partition("## What this means")[2]
    page = write_a_report(tmp_path, "mine", {"baseline": ["a cat", "a dog"], "quantized": ["a cat", "a dog"]})
    assert "how far each checkpoint keeps to them stands in the table above" in page


def test_the_report_says_how_timing_ended_and_leaves_out_what_noise_hides(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    metrics = made_up(["baseline", "quantized"])
    times = metrics["quantized"]["benchmark"]
    times |= {"speedup_width": 0.123, "ended": "time over"}
    for name in ("token_ms", "throughput_images_per_s_ci_low"):
        del times[name]
    page = write_a_report(tmp_path, "m", {"baseline": ["a", "b"], "quantized": ["a", "b"]}, metrics)
    assert "| baseline | **2.00 (2.00–2.00)** | ±7 %, 3 sessions, interval reached | " in page
    assert "| quantized | **2.00 (2.00–2.00)** | ±12 %, 3 sessions, time over | " in page
    assert " | – | 2.0, 4.4x | " in page


@pytest.mark.parametrize("captioned", [True, False])
def test_the_table_of_captions_says_how_many_words_a_step_says(tmp_path: Path, captioned: bool) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    metrics = made_up(["baseline", "quantized", "openvino_int8"])
    metrics["openvino_int8"]["quality"] |= {"words_per_step": 1.594, "guesses_right": 0.4297}
    for figures in metrics.values() if captioned else ():
        figures["quality"] |= {"cider": 2.5}
    page = write_a_report(tmp_path, "m", {name: ["a", "b"] for name in metrics}, metrics)
    table = page.partition("## Captions")[2].partition("## Examples")[0]
    rows = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    assert rows["| checkpoint"].endswith(" | words a step |") and "how many words a step of the decoder says" in table
    assert rows["| openvino_int8"].endswith(" | 1.59, 43 % |")
    assert rows["| baseline"].endswith(" | – |") and rows["| quantized"].endswith(" | – |")
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_dvc_gets_at_most_ten_figures_the_model_and_the_machine(tmp_path: Path) -> None:
    metrics = made_up(["baseline", "quantized"])
    metrics["quantized"]["quality"] |= {"cider": 1.2, "cider_change": -0.1}
    write_views("mine", metrics, MACHINE, tmp_path)
    baseline, quantized = (json.loads((tmp_path / f"metrics/{name}.json").read_text()) for name in metrics)
    assert quantized.pop("machine") == baseline.pop("machine") == "A CPU 1/2/3 avx2 x2"
    assert quantized.pop("model") == baseline.pop("model") == "mine"
    assert quantized == {
        **{"speedup": 2, "latency_ms": 2, "token_ms": 2, "start_s": 1, "memory_mb": 100, "checkpoint_mb": 10},
        **{"cider": 1.2, "cider_change": -0.1, "same_caption": 0.5, "kl": 0.5},
    }
    assert baseline.keys() == {"speedup", "latency_ms", "token_ms", "start_s", "memory_mb", "checkpoint_mb"}


def test_plots_have_what_there_is(tmp_path: Path) -> None:
    metrics = made_up(["baseline", "quantized", "onnx_int8"])
    metrics["onnx_int8"]["quality"] |= {"cider": 1.2, "cider_ci_low": 1.1, "cider_ci_high": 1.3}
    del metrics["onnx_int8"]["benchmark"]["token_ms"]
    baseline, quantized, captioned = speed_rows(metrics, "mine", "A CPU")
    assert baseline["quality"] == 1 and "quality_low" not in baseline
    assert (quantized["quality"], quantized["quality_low"], quantized["speedup_high"]) == (0.5, 0.5, 2)
    assert (captioned["quality"], captioned["quality_high"], captioned["machine"]) == (1.2, 1.3, "mine, A CPU")
    times = {(row["checkpoint"], row["kind"]): row["value"] for row in part_rows(metrics, "mine", "A CPU")}
    assert times["quantized", "further token, mine, A CPU"] == 2
    assert ("onnx_int8", "further token, mine, A CPU") not in times
    differences = {(row["checkpoint"], row["kind"]): row["value"] for row in difference_rows(metrics, "mine")}
    assert differences["quantized", "other caption, %, mine"] == 50
    assert not {kind for name, kind in differences if name == "baseline"}


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
        draw_examples([(picture_files[0], {"base$line_": caption, "b": "a dog"})], "demo", tmp_path / "examples.png")
    assert Image.open(tmp_path / "examples.png").height < 1500


def test_a_dollar_sign_is_drawn_as_it_is(tmp_path: Path, picture_files: list[Path]) -> None:
    drawn = []
    for caption in ("from $5 to $9", "from 5 to 9"):
        draw_examples([(picture_files[0], {"baseline": caption})], "demo", tmp_path / "examples.png")
        drawn.append(Image.open(tmp_path / "examples.png").tobytes())
    assert drawn[0] != drawn[1]
    times = {"speedup": 2.0, "speedup_ci_low": 1.5, "speedup_ci_high": 2.5}
    draw_speed({"baseline": times, "$\\frac{$": times}, "$\\frac{$", tmp_path / "speed.png")


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


def test_references_that_no_caption_can_match_are_a_warning(tmp_path: Path) -> None:
    make_dataset(Scenes(kind="scenes", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    own = {"baseline": ["a", "b"], "quantized": ["a", "b"]}
    metrics = made_up(own)
    for figures in metrics.values():
        figures["quality"] |= dict.fromkeys(("cider", "cider_change"), 0.5)
    assert "Warning" not in write_a_report(tmp_path, "mine", own, metrics)
    for figures in metrics.values():
        figures["quality"]["outside_vocabulary"] = 0.5
    assert "**Warning: of 50.0 % of the pictures, every reference" in write_a_report(tmp_path, "mine", own, metrics)


def test_a_layer_that_int8_spoils_is_a_warning_whatever_the_sample_says(tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    own = {"baseline": ["a dog", "a cat"], "quantized": ["a dog", "a cat"]}
    assert "Warning" not in write_a_report(tmp_path, "mine", own)
    metrics = made_up(own)
    metrics["quantized"]["quality"]["worst_int8_layer_db"] = 7.5
    assert "**Warning: quantized's captions will suffer" in write_a_report(tmp_path, "mine", own, metrics)


@given(
    st.lists(
        st.sampled_from(
            ["", "null", "NA", "nan", "007", "1e5", "TRUE", '"', '"a", b', "a\r\nb", "\r", "a\rb", " a ", "é|中"]
        )
        | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        min_size=1,
    )
)
def test_captions_come_back_from_disk_as_they_are(own: list[str]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "quality").mkdir()
        table = pd.DataFrame({"image": "0.png", "caption": own, "tokens": ["1 2"] * len(own)})
        write_captions(table, Path(folder) / "quality/baseline.csv")
        assert list(gather_captions(["baseline"], Path(folder))["baseline"]["caption"]) == own


def test_the_table_shows_captions_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"speedup": 1.0, "speedup_ci_low": 1.0, "speedup_ci_high": 1.0, "latency_ms": 1.0}
    print_table("a[/b]", {"baseline": {"benchmark": times, "quality": {}}}, {"baseline": ["[red]x[/] :smile: \x1b"]})
    assert r"[red]x[/] :smile: \x1b" in capsys.readouterr().out
