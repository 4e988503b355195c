"""Captioners of others: built, made int8 and timed, in small; and the tables of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers.pytorch_utils import Conv1D

from stages.alternatives import blip_large, rival_int8, rival_times, rivals
from stages.alternatives.rival_models import (
    RIVALS,
    Rival,
    build,
    caption,
    florence_2_base,
    git_base,
    smolvlm_256m,
    vit_gpt2,
)
from stages.alternatives.rival_times import INT8, OWN, summarize
from stages.alternatives.rival_worker import answer
from stages.alternatives.rivals import CAPTIONERS, COMPARISON, Rivals, tables
from stages.captioner.checkpoint import read_manifest
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch_int8 import Int8Linear
from stages.page.kept import read_kept
from stages.page.machine_files import PAGE, file_name, gather, with_part
from stages.setup.params import FolderSource
from tests.clones import write_clone
from tests.conftest import PROJECT, RunStage, assert_one_sentence
from tests.page.test_machines import HARDWARE

WORDS = 4
FLOAT = (torch.nn.Linear, Conv1D)
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny(name: str) -> Rival:
    """A captioner of the same class with a configuration in small."""
    if name == "git_base":
        config = git_base()
        _set(config, SMALL | {"vocab_size": 200})
        _set(config.vision_config, SMALL | {"image_size": 32})
    elif name == "vit_gpt2":
        config = vit_gpt2()
        _set(config.encoder, SMALL | {"image_size": 32})
        _set(config.decoder, {"n_embd": 32, "n_layer": 2, "n_head": 4})
    elif name == "florence_2_base":
        config = florence_2_base()
        text = {"d_model": 32} | {
            f"{part}_{key}": value
            for part in ("encoder", "decoder")
            for key, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 64}.items()
        }
        _set(config.text_config, text)
        _set(config.vision_config, {"embed_dim": (8, 16, 32, 64), "depths": (1, 1, 1, 1), "projection_dim": 32})
    else:
        config = smolvlm_256m()
        _set(config.text_config, SMALL | {"num_key_value_heads": 2, "head_dim": 8})
        _set(config.vision_config, SMALL | {"image_size": 64})
    return RIVALS[name]._replace(config=config)


def _set(config: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        assert hasattr(config, key), key
        setattr(config, key, value)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))


# What they are


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("git_base", 176.6),
        ("vit_gpt2", 239.2),
        ("florence_2_base", 231.4),
        ("smolvlm_256m", 256.5),
        ("smolvlm_256m_whole", 256.5),
    ],
)
def test_each_has_as_many_numbers_as_its_published_files(name: str, millions: float) -> None:
    rival = RIVALS[name]
    with torch.device("meta"):
        model = rival.model(rival.config)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("int8", [False, True])
def test_each_looks_once_and_says_as_many_words_as_it_is_told(name: str, int8: bool) -> None:
    rival = tiny(name)
    model = build(rival)
    linear = sum(isinstance(layer, FLOAT) for layer in model.modules())
    if int8:
        assert rival_int8.apply(model, rival.once_per_picture) == linear > 8
        layers = [layer for layer in model.modules() if isinstance(layer, (Int8Linear, *FLOAT))]
        assert [type(layer) for layer in layers] == [Int8Linear] * linear
    steps: list[str] = []
    for tower in rival.once_per_picture:
        model.get_submodule(tower).register_forward_hook(lambda *_, tower=tower: steps.append(tower))
    words = caption(model, rival.prepare(rival.config, NOISE), WORDS)
    assert len(words) == WORDS
    assert sorted(steps) == sorted(rival.once_per_picture)
    assert caption(model, rival.prepare(rival.config, NOISE), WORDS) == words


@pytest.mark.parametrize("name", RIVALS)
def test_each_looks_at_the_picture_that_it_is_given(name: str) -> None:
    rival = tiny(name)
    model = build(rival)
    seen = [rival.prepare(rival.config, image)["pixel_values"] for image in (NOISE, Image.new("RGB", (48, 48)))]
    assert seen[0].shape == seen[1].shape and not torch.equal(*seen)
    tower = model.get_submodule(rival.once_per_picture[0])
    taken: list[torch.Tensor] = []
    tower.register_forward_pre_hook(
        lambda _, given, named: taken.extend(own for own in (*given, *named.values()) if torch.is_tensor(own)),
        with_kwargs=True,
    )
    caption(model, rival.prepare(rival.config, NOISE), WORDS)
    assert torch.equal(taken[0].flatten(), seen[0].to(taken[0].dtype).flatten())


@pytest.mark.parametrize(("size", "tiles"), [((384, 384), 17), ((640, 480), 13), ((480, 640), 13), ((2000, 500), 5)])
def test_smolvlm_splits_pictures_as_its_processor_does(size: tuple[int, int], tiles: int) -> None:
    image, states = Image.new("RGB", size), 64
    for name, expected in (("smolvlm_256m", tiles), ("smolvlm_256m_whole", 1)):
        rival = RIVALS[name]
        inputs = rival.prepare(rival.config, image)
        assert inputs["pixel_values"].shape == (1, expected, 3, 512, 512)
        assert (inputs["input_ids"] == rival.config.image_token_id).sum() == states * expected


def test_layers_of_gpt2_that_are_turned_compute_the_same() -> None:
    model = build(tiny("vit_gpt2"))
    tokens = torch.tensor([[50256, 1, 2]])
    states = torch.randn(1, 5, 32)
    before = model.decoder(tokens, encoder_hidden_states=states).logits
    rival_int8._turn_into_linear(model)
    assert torch.allclose(model.decoder(tokens, encoder_hidden_states=states).logits, before, atol=1e-5)


# How they are timed


def test_a_rival_answers_like_a_checkpoints_worker(picture_files: list[Path]) -> None:
    rival = tiny("git_base")
    request = {"images": [str(picture_files[0])], "decoding": Decoding().exactly(WORDS).model_dump()}
    told = answer(build(rival), rival, request)
    assert told["seconds"] > 0 and len(told["captions"][0]) == WORDS
    json.dumps(told)


def test_blip_large_is_made_as_it_comes_and_in_int8(
    baseline: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(baseline.parents[1])  # where its source lies, a folder
    blip_large.make(FolderSource(folder="data/local/tiny"), calibration, tmp_path)
    plain, int8 = (read_manifest(tmp_path / name) for name in rival_times.BLIP_LARGE)
    assert not plain.recipe and int8.recipe == {"quantize": {"scheme": "dynamic-int8"}}


def test_figures_are_over_sessions_and_in_pairs() -> None:
    rows = [
        ("rival", "caption", base, base / 2, session) for session, base in enumerate((1.0, 1.2, 4.0)) for _ in range(3)
    ]
    rows += [("rival", "memory", 2e9, 1.5e9, 0), ("other", "caption", 1.0, 3.0, 0), ("other", "caption", 1.0, 3.0, 1)]
    columns = ["captioner", "measurement", "baseline", "checkpoint", "session"]
    figures = summarize(pd.DataFrame(rows, columns=columns))
    own = figures["rival"]
    assert own["speedup"] == 2 and own["speedup_ci_low"] > 1.7, "pairs share what slows both down"
    assert own["seconds_ci_low"] < 0.5 and own["seconds_ci_high"] > 2
    assert own["peak_memory_mb"] == 1500
    assert "peak_memory_mb" not in figures["other"] and figures["other"]["seconds"] == 3


def test_all_that_is_timed_has_its_words_and_a_model() -> None:
    names = {name for group in rival_times.groups() for entrant in group.entrants for name in entrant.names}
    assert names == {*OWN, *rival_times.BLIP_LARGE} | {f"{name}{end}" for name in RIVALS for end in ("", INT8)}
    assert {name.removesuffix(INT8) for name in names - {*OWN}} | {"baseline", *OWN} == {*CAPTIONERS}
    for group in rival_times.groups():
        looks = [RIVALS[look] for look in group.looks if look]
        assert len({look.model for look in looks}) <= 1, "they share a process, and so a model"


def test_only_blip_base_without_caps_is_compared_with(tmp_path: Path, baseline: Path, run_stage: RunStage) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/baseline").symlink_to(baseline)
    assert_one_sentence(run_stage("alternatives.rival_times", cwd=tmp_path), "make rivals")
    capped = run_stage("alternatives.rival_times", cwd=tmp_path, ONEDNN_MAX_CPU_ISA="AVX2")
    assert_one_sentence(capped, "ONEDNN_MAX_CPU_ISA")


# What is kept of it


def times(seconds: float, speedup: float, **more: float) -> dict[str, float]:
    ends = (("", 1.0), ("_ci_low", 0.75), ("_ci_high", 1.25))
    own = {f"{name}{end}": value * factor for end, factor in ends for name, value in (("seconds", seconds),)}
    return own | {f"speedup{end}": speedup * factor for end, factor in ends} | more


LIBRARIES = {"torch": "2.13.0", "transformers": "5.23.0", "openvino": "2026.4.1"}
RECORD: dict[str, Any] = {
    "commit": "0123456789" * 4,
    "date": "2026-11-29",
    "threads": 2,
    "new_tokens": 10,
    "machine": HARDWARE | {"libraries": LIBRARIES},
    "captioners": {
        "baseline": times(1.0, 1.0, peak_memory_mb=1463.2) | {"speedup_ci_low": 1.0, "speedup_ci_high": 1.0},
        "fastest": times(0.1, 10.0),
        "blip_large": times(3.2, 0.3125),
        "blip_large_int8": times(0.8, 1.25),
        "vit_gpt2_int8": times(0.2, 5.0),
    },
}


def record(**changes: Any) -> Rivals:
    return Rivals.model_validate_json(json.dumps(RECORD | changes))


def test_the_page_has_the_tables_of_the_files() -> None:
    page = (PROJECT / PAGE).read_text(encoding="utf-8")
    files = read_kept(PROJECT / rivals.RIVALS, Rivals, "comparison")
    assert page == with_part(COMPARISON, page, files), "make them anew with `python -m stages.alternatives.rivals`"
    assert all(name == file_name(own) for name, own in files.items())


def test_a_table_tells_published_figures_from_measured_ones() -> None:
    made = tables({file_name(record()): record()})
    machine, _, headings, _, *rows = made.strip().splitlines()
    assert machine == (
        "[Intel(R) Xeon(R) 6/79/1 avx512_vnni x2](rivals/intel-xeon-6-79-1-avx512_vnni-x2.json), 2 threads, "
        "torch 2.13.0, transformers 5.23.0, openvino 2026.4.1, 0123456, 2026-11-29:"
    ).replace("Intel(R) Xeon(R)", "Intel Xeon")
    assert headings.endswith("| memory, MB | CIDEr on COCO, as published |")
    assert rows[:5] == [
        "| BLIP-base, transformers | 32 bits | 384 px | 1.00 (0.75–1.25) | 1 | 1,463 | 133.3 (1) |",
        "| BLIP-base, `fastest` | 8 bits | 384 px | 0.10 (0.08–0.12) | 10.00 (7.50–12.50) | – | – |",
        "| BLIP-large | 32 bits | 384 px | 3.20 (2.40–4.00) | 0.31 (0.23–0.39) | – | 136.7 (2) |",
        "| BLIP-large | 8 bits | 384 px | 0.80 (0.60–1.00) | 1.25 (0.94–1.56) | – | – |",
        "| ViT-GPT2 | 8 bits | 224 px | 0.20 (0.15–0.25) | 5.00 (3.75–6.25) | – | – |",
    ]
    sources = [line for line in rows if line.startswith("(")]
    assert [line.partition(" ")[0] for line in sources] == [f"({number})" for number in range(1, len(sources) + 1)]
    assert "arXiv 2201.12086" in sources[0] and tables({}) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "me"},
        {"commit": "main"},
        {"new_tokens": 20},
        {"captioners": {}},
        {"captioners": {"../x": times(1, 1)}},
        {"captioners": {"x": times(1, 1) | {"seconds_ci_low": 2.0}}},
        {"captioners": {"x": times(1, -1)}},
        {"captioners": {"x": times(1, 1) | {"cider": 1.0}}},
        {"machine": HARDWARE | {"libraries": {"torch": "2.13.0"}}},
        {"machine": HARDWARE | {"libraries": {"torch": "2.13 @ file:///Users/me"}}},
    ],
)
def test_what_is_unknown_or_implausible_is_refused(changes: dict[str, Any]) -> None:
    record()
    with pytest.raises(ValidationError):
        record(**changes)


def test_intervals_of_a_noisy_machine_are_kept_as_they_are() -> None:
    noisy = times(1.0, 2.0) | {"speedup_ci_low": 0.0, "seconds_ci_high": 5e9}
    assert record(captioners={"git_base": noisy}).captioners["git_base"].seconds_ci_high == 5e9


FOUND = {key: RECORD[key] for key in ("threads", "new_tokens", "captioners")}


def test_what_was_timed_is_kept_and_shown(tmp_path: Path, run_stage: RunStage) -> None:
    clone = write_clone(tmp_path / "clone", FOUND, rival_times.TIMES)
    project = tmp_path / "project"
    (project / "reports").mkdir(parents=True)
    page = "# Mine\n\n<!-- rivals: made by `make rivals` -->\n\n<!-- end of rivals -->\nrest\n"
    (project / PAGE).write_text(page)
    assert (done := run_stage("alternatives.rivals", clone, cwd=project)).returncode == 0, done.stderr
    (name,) = (path.name for path in (project / rivals.RIVALS).iterdir())
    own = gather(COMPARISON, clone)
    assert name == file_name(own) and f"(rivals/{name})" in (project / PAGE).read_text()
    assert read_kept(project / rivals.RIVALS, Rivals, "comparison") == {name: own}
    before = (project / PAGE).read_text()
    assert run_stage("alternatives.rivals", cwd=project).returncode == 0
    assert (project / PAGE).read_text() == before


def test_nothing_is_written_where_the_marks_or_the_times_are_missing(tmp_path: Path, run_stage: RunStage) -> None:
    clone = write_clone(tmp_path / "clone", FOUND, rival_times.TIMES)
    (tmp_path / "reports").mkdir()
    (tmp_path / PAGE).write_text("# Mine\n")
    assert_one_sentence(run_stage("alternatives.rivals", clone, cwd=tmp_path), "lacks the marks")
    assert not (tmp_path / rivals.RIVALS).exists()
    assert_one_sentence(run_stage("alternatives.rivals", tmp_path, cwd=tmp_path), "nothing was timed", "make rivals")
