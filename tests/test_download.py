import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.blip.processing_blip import BlipProcessor

from stages.captioner.checkpoint import MANIFEST, read_manifest, sha256, verify_files
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.preprocessing import Size, preprocess, read_preprocessing
from stages.captioner.runtimes.pytorch import load_model
from stages.download import download
from stages.setup.params import FolderSource, UntrainedSource
from stages.sources.model import build_untrained
from tests.captioner.test_pointers import LFS
from tests.conftest import (
    DEMO,
    PROCESSOR,
    PROJECT,
    VOCABULARY,
    RunStage,
    assert_one_sentence,
    save_tiny_model,
    tiny_model,
)
from tests.hub import Hub, serve

REPOSITORY, COMMIT = "somebody/blip-tiny", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder to run stages in, with the project's params.yaml."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(PROJECT / "params.yaml", folder)
    return folder


def choose(workspace: Path, source: dict[str, Any]) -> None:
    """Makes `source` the chosen model's source in the workspace's params.yaml."""
    path = workspace / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["models"]["mine"] = params["models"]["blip-base"] | {"source": source}
    path.write_text(yaml.safe_dump(params | {"model": "mine"}))


def assert_nothing_left(workspace: Path) -> None:
    models = workspace / "models"
    assert not models.exists() or not list(models.iterdir())


MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
OLD_PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": MEAN,
    "image_processor_type": "BlipImageProcessor",
    "image_std": DEVIATION,
    "processor_class": "BlipProcessor",
    "size": 128,
}
OUTPUT, WORDS = "text_decoder.cls.predictions", "text_decoder.bert.embeddings.word_embeddings.weight"
ALL_WORDS = 32 * (VOCABULARY + 2)  # numbers in the tiny model's table of words


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository like Salesforce's: pickled weights with the word embeddings twice, the output bias under two names
    and an old buffer too many; an image processor with a number for its size; two tokens more than the tokenizer has.
    """
    folder = save_tiny_model(tmp_path / "repository")
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(OLD_PREPROCESSOR))
    model = tiny_model()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state[f"{OUTPUT}.decoder.bias"] = state[f"{OUTPUT}.bias"]
    state["text_decoder.bert.embeddings.position_ids"] = torch.arange(64).expand(1, -1).clone()
    state["text_decoder.retired_head.weight"] = torch.zeros(4_000_000)  # makes the file worth resuming
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "tf_model.h5").write_bytes(b"not wanted")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[Hub]:
    with serve(REPOSITORY, COMMIT, repository) as server:
        yield server


@pytest.fixture
def download_from(
    hub: Hub, workspace: Path, tmp_path: Path, run_stage: RunStage
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the stage against the stand-in hub, with an empty Hub cache, for a source that can be changed."""

    def run(**changes: str | None) -> subprocess.CompletedProcess[str]:
        digest = sha256(hub.folder / "pytorch_model.bin")
        source = {"hub": REPOSITORY, "revision": COMMIT, "sha256": digest, **changes}
        choose(workspace, {key: value for key, value in source.items() if value})
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache")}
        return run_stage("download", cwd=workspace, **environment)

    return run


def test_safetensors_are_preferred_to_a_pickle(download_from: Any, hub: Hub) -> None:
    save_tiny_model(hub.folder)
    assert download_from(sha256=None).returncode == 0
    assert "pytorch_model.bin" not in hub.downloaded


def test_a_pickle_with_another_digest_is_not_opened(download_from: Any, workspace: Path) -> None:
    assert_one_sentence(download_from(sha256="0" * 64), "not the one in params.yaml", "do not trust it")
    assert_nothing_left(workspace)


def test_a_pickle_without_a_digest_says_which_to_pin(download_from: Any, workspace: Path, hub: Hub) -> None:
    assert_one_sentence(download_from(sha256=None), sha256(hub.folder / "pytorch_model.bin"), "pin them")
    assert_nothing_left(workspace)


def test_a_pickle_that_runs_code_is_refused(download_from: Any, workspace: Path, hub: Hub, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "attacked",))

    torch.save({"weight": Attack()}, hub.folder / "pytorch_model.bin")
    assert_one_sentence(download_from(), "can't be loaded")
    assert not (tmp_path / "attacked").exists()
    assert_nothing_left(workspace)


def test_an_unknown_commit_and_an_unknown_repository_are_one_sentence(download_from: Any, workspace: Path) -> None:
    assert_one_sentence(download_from(revision="f" * 40), "has no commit " + "f" * 40, "params.yaml")
    assert_one_sentence(download_from(hub="somebody/else"), "no model somebody/else", "params.yaml")
    assert_nothing_left(workspace)


def test_a_broken_download_resumes_where_it_broke(download_from: Any, hub: Hub, workspace: Path) -> None:
    hub.xet, hub.cut_after, hub.dies_after = True, 3_000_000, 10_000_000
    assert_one_sentence(download_from(), "run this again, it will resume")
    assert_nothing_left(workspace)
    hub.dies_after = None
    hub.requested_ranges.clear()
    process = download_from()
    assert process.returncode == 0, process.stderr
    assert hub.requested_ranges[0] == "bytes=10000000-"


def test_no_network_is_one_sentence_that_says_what_works_without(
    workspace: Path, run_stage: RunStage, tmp_path: Path
) -> None:
    choose(workspace, {"hub": REPOSITORY, "revision": COMMIT})
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    process = run_stage("download", cwd=workspace, **environment)
    assert_one_sentence(process, "HF_HUB_OFFLINE", "unset that", "blip-base-untrained")
    assert_nothing_left(workspace)


def test_pickled_weights_from_a_hub_become_a_checkpoint_of_the_same_bytes_for_every_user(
    hub: Hub, tmp_path: Path, workspace: Path, run_stage: RunStage
) -> None:
    digest = sha256(hub.folder / "pytorch_model.bin")
    choose(workspace, {"hub": REPOSITORY, "revision": COMMIT, "sha256": digest})
    baselines = []
    for user in ("ada", "grace"):
        folder = tmp_path / user / "project"
        shutil.copytree(workspace, folder)
        token = f"hf_secret_of_{user}"
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / user / "cache"), "HF_TOKEN": token}
        process = run_stage("download", cwd=folder, **environment)
        assert process.returncode == 0, process.stderr
        assert "text_decoder.retired_head.weight" in process.stdout.replace("\n", "")
        assert token not in process.stdout + process.stderr and token in str(hub.seen)
        assert not [file for file in folder.rglob("*") if file.is_file() and token.encode() in file.read_bytes()]
        baselines.append(folder / "models" / "baseline")
    written = [{file.name: file.read_bytes() for file in baseline.iterdir()} for baseline in baselines]
    assert written[0] == written[1]
    assert not [name for name, content in written[0].items() if str(tmp_path).encode() in content]
    assert not {Path(name).suffix for name in written[0]} & {".bin", ".h5", ".pkl"}
    assert "tf_model.h5" not in hub.downloaded
    manifest = read_manifest(baselines[0])
    verify_files(baselines[0], manifest)
    assert manifest.origin["revision"] == COMMIT
    expected = tiny_model().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_model(baselines[0]).state_dict().items())


def local_model(workspace: Path) -> Path:
    choose(workspace, {"folder": "data/local/mine"})
    return save_tiny_model(workspace / "data" / "local" / "mine")


def test_a_local_folder_becomes_a_checkpoint_and_needs_neither_a_network_nor_a_home(
    workspace: Path, hub: Hub, run_stage: RunStage
) -> None:
    local_model(workspace)
    process = run_stage("download", cwd=workspace, HF_ENDPOINT=hub.endpoint, HF_HOME="/dev/null", HOME="/dev/null")
    assert process.returncode == 0, process.stderr
    assert not process.stderr
    assert (workspace / "models" / "baseline" / MANIFEST).is_file()
    assert not hub.seen


def make_baseline(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    download(FolderSource(folder="data/local/mine"), Path("models/baseline"))
    return workspace / "models" / "baseline"


@torch.inference_mode()
def logits(model: BlipForConditionalGeneration) -> torch.Tensor:
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    result: torch.Tensor = model.eval()(pixel_values=pixels, input_ids=torch.tensor([[70, 8, 9]])).logits
    return result


def test_what_transformers_saves_now_becomes_a_checkpoint(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = local_model(workspace)
    processor = BlipProcessor(BlipImageProcessorPil.from_pretrained(folder), BertTokenizer.from_pretrained(folder))
    shutil.rmtree(folder)
    processor.save_pretrained(folder)
    tiny_model().save_pretrained(folder, max_shard_size="20KB")
    assert not (folder / "preprocessor_config.json").exists()
    assert (folder / "model.safetensors.index.json").exists()
    baseline = make_baseline(workspace, monkeypatch)
    assert torch.equal(logits(load_model(baseline)), logits(tiny_model()))
    assert read_preprocessing(baseline).size == Size(height=128, width=128)


def test_of_two_image_processors_transformers_choice_is_taken(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = local_model(workspace)
    nested = {"image_processor": OLD_PREPROCESSOR | {"image_mean": [0.5, 0.5, 0.5]}}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    (folder / "preprocessor_config.json").write_text(json.dumps(OLD_PREPROCESSOR))
    assert read_preprocessing(make_baseline(workspace, monkeypatch)).image_mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("pickled", [True, False])
def test_weights_of_a_folder_come_in_as_float32(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, pickled: bool
) -> None:
    folder = local_model(workspace)
    model = tiny_model().to(dtype)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    baseline = make_baseline(workspace, monkeypatch)
    assert {tensor.dtype for tensor in load_file(baseline / "model.safetensors").values()} == {torch.float32}
    assert torch.equal(logits(load_model(baseline)), logits(tiny_model().to(dtype).float()))
    assert "float16" not in (baseline / "config.json").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 128},
        {"size": [128, 128]},
        {"size": {"height": 128, "width": 128}, "do_pad": True, "size_divisor": 32},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 0.01},
        {"image_mean": 0.5, "image_std": 0.25},
        {"resample": 0},
        {"resample": 2},
    ],
)
def test_pictures_are_prepared_as_the_source_says_by_all_who_read_the_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], pictures: list[Image.Image]
) -> None:
    folder = local_model(workspace)
    (folder / "preprocessor_config.json").write_text(json.dumps(OLD_PREPROCESSOR | changes))
    baseline = make_baseline(workspace, monkeypatch)
    images = [picture.resize((301, 77)) for picture in pictures]
    expected = BlipImageProcessorPil.from_pretrained(folder)(images=images, return_tensors="np")["pixel_values"]
    theirs = BlipImageProcessorPil.from_pretrained(baseline)(images=images, return_tensors="np")["pixel_values"]
    tolerance = 1e-5 * float(np.abs(expected).max())
    np.testing.assert_allclose(theirs, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(preprocess(images, read_preprocessing(baseline)), expected, rtol=0, atol=tolerance)
    written = json.loads((baseline / "preprocessor_config.json").read_text())
    assert written["size"] == {"height": 128, "width": 128}
    assert {"do_rescale", "do_resize", "do_normalize", "resample", "rescale_factor"} <= written.keys()


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("lower_case", [True, False])
def test_text_is_split_as_transformers_does_by_all_who_read_the_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, file: str, lower_case: bool
) -> None:
    folder = local_model(workspace)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    for other in {"tokenizer.json", "vocab.txt"} - {file}:
        (folder / other).unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
    baseline = make_baseline(workspace, monkeypatch)
    for text in ("A man in Red and a brown dog", "a man, in red.", "unheard-of"):
        expected = BertTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
        assert BertTokenizer.from_pretrained(baseline)(text, add_special_tokens=False)["input_ids"] == expected
        engines = Tokenizer.from_file(str(baseline / "tokenizer.json"))
        assert engines.encode(text, add_special_tokens=False).ids == expected


def untie(weight: bool, bias: bool) -> Callable[[dict[str, torch.Tensor]], None]:
    """Makes the output layer's tensors differ from those that they are tied to."""

    def change(state: dict[str, torch.Tensor]) -> None:
        generator = torch.Generator().manual_seed(1)
        for name, chosen in ((f"{OUTPUT}.decoder.weight", weight), (f"{OUTPUT}.decoder.bias", bias)):
            if chosen:
                state[name] = torch.randn(state[name].shape, generator=generator)

    return change


def _without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state[name]

    return change


@pytest.mark.parametrize(
    ("change", "tied"),
    [
        (untie(weight=False, bias=False), True),
        (untie(weight=True, bias=False), False),
        (untie(weight=False, bias=True), False),
        (untie(weight=True, bias=True), False),
        (_without(f"{OUTPUT}.decoder.bias"), True),
        (_without(f"{OUTPUT}.bias"), True),
        (_without(f"{OUTPUT}.decoder.weight"), True),
        (_without(WORDS), True),
    ],
)
@pytest.mark.parametrize("configured", [True, False])
def test_tied_and_untied_output_layers_survive(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, torch.Tensor]], None],
    tied: bool,
    configured: bool,
) -> None:
    folder = local_model(workspace)
    config = json.loads((folder / "config.json").read_text())
    for part in (config, config["text_config"]):
        part["tie_word_embeddings"] = configured
    (folder / "config.json").write_text(json.dumps(config))
    state = {name: tensor.clone() for name, tensor in tiny_model().state_dict().items()}
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    expected, report = BlipForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    if report["missing_keys"]:
        with pytest.raises(InputError, match="lack"):
            make_baseline(workspace, monkeypatch)
        return
    baseline = make_baseline(workspace, monkeypatch)
    assert json.loads((baseline / "config.json").read_text())["tie_word_embeddings"] == (
        tied and configured is not False
    )
    reopened, report = BlipForConditionalGeneration.from_pretrained(baseline, output_loading_info=True)
    assert not any(report.values())
    for model in (load_model(baseline), reopened):
        assert torch.equal(logits(model), logits(expected))


# Weights that are no numbers, or none of a BLIP's

QUERY = "text_decoder.bert.encoder.layer.0.attention.self.query"
POSITIONS = "text_decoder.bert.embeddings.position_embeddings.weight"
Tensors = dict[str, torch.Tensor]


def _stores(change: Callable[[Tensors], None], pickled: bool = False) -> Callable[[Path], None]:
    """Changes a model's tensors in its file."""

    def spoil(folder: Path) -> None:
        state = {name: tensor.clone() for name, tensor in tiny_model().state_dict().items()}
        change(state)
        (folder / "model.safetensors").unlink()
        if pickled:
            torch.save(state, folder / "pytorch_model.bin")
        else:
            save_file(state, folder / "model.safetensors", {"format": "pt"})

    return spoil


def _puts(name: str, value: float, count: int = 1, dtype: torch.dtype = torch.float32) -> Callable[[Tensors], None]:
    """So many values of one tensor, in a file whose tensors are all of a type."""

    def change(state: Tensors) -> None:
        state[name].view(-1)[:count] = value
        state |= {key: tensor.to(dtype) for key, tensor in state.items() if tensor.is_floating_point()}

    return change


def _makes(name: str, made: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def change(state: Tensors) -> None:
        state[name] = made(state[name])

    return change


def _renames(old: str, new: str, *more: str) -> Callable[[Tensors], None]:
    """Renames what begins so, and adds small tensors of further names."""

    def change(state: Tensors) -> None:
        renamed = {name: name.replace(old, new, 1) for name in state if name.startswith(old)}
        state |= {new_name: state.pop(name) for name, new_name in renamed.items()}
        state |= {name: torch.zeros(2, 2) for name in more}

    return change


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("pickled", [True, False])
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_puts(f"{QUERY}.bias", NAN), ("inf or NaN for 1 of the 32", f"{QUERY}.bias (3.12 %):", "diverged")),
        (_puts(f"{QUERY}.weight", -INF, 512), ("512 of the 1024", "(50 %)")),
        (_puts(WORDS, NAN, ALL_WORDS), (f"{ALL_WORDS} of the {ALL_WORDS}", "(100 %)")),
        (_puts(POSITIONS, INF), (POSITIONS,)),
        (_puts("vision_model.embeddings.class_embedding", NAN), ("vision_model.embeddings.class_embedding",)),
        (_puts("vision_model.post_layernorm.weight", 1e5, dtype=torch.float16), ("post_layernorm.weight", "float16")),
        (_puts(f"{QUERY}.bias", NAN, dtype=torch.bfloat16), (f"{QUERY}.bias",)),
        (_makes(f"{QUERY}.bias", lambda bias: torch.full_like(bias, 1e300, dtype=torch.float64)), ("32 of the 32",)),
        (lambda state: state.update({name: tensor * NAN for name, tensor in state.items()}), ("more tensors",)),
        (_makes(f"{QUERY}.weight", lambda weight: (10 * weight).to(torch.int8)), (f"{QUERY}.weight", "quantized")),
        (_makes(f"{QUERY}.weight", lambda weight: (10 * weight).to(torch.int64)), (f"{QUERY}.weight", "quantized")),
        (_makes(f"{QUERY}.weight", lambda weight: weight > 0), (f"{QUERY}.weight", "no weight")),
        (_makes(f"{QUERY}.weight", lambda weight: weight * 1j), (f"{QUERY}.weight", "no weight")),
        (_makes(f"{QUERY}.weight", lambda weight: weight[:0]), (f"{QUERY}.weight", "(0, 32)", "(32, 32)")),
        (_makes(f"{QUERY}.weight", lambda weight: weight.flatten()), (f"{QUERY}.weight", "(1024,)", "(32, 32)")),
        (_makes(f"{QUERY}.weight", lambda weight: weight[0, 0].clone()), (f"{QUERY}.weight", "()", "(32, 32)")),
        (_renames(f"{QUERY}.weight", f"{QUERY}.base_layer.weight"), ("an adapter", "base_layer", "merge_and_unload()")),
        (_renames("-", "", f"{QUERY}.lora_A.default.weight"), ("an adapter", "lora_A", "merge_and_unload()")),
        (_renames("", "base_model.model.", f"{QUERY}.ia3_l.default"), ("an adapter", "ia3_l")),
        (_renames("", "module."), ("lack", "has no use for", "module.")),
        (_renames("-", "", "text_encoder.encoder.layer.0.output.dense.weight"), ("text_encoder", "answers questions")),
    ],
)
def test_weights_that_no_blip_computes_with_are_named_at_the_door(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Tensors], None],
    parts: tuple[str, ...],
    pickled: bool,
) -> None:
    folder = local_model(workspace)
    _stores(change, pickled)(folder)
    with pytest.raises(InputError) as error:
        make_baseline(workspace, monkeypatch)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert_nothing_left(workspace)


@pytest.mark.parametrize(
    "made", [torch.Tensor.to_sparse, lambda weight: weight.to("meta"), lambda weight: {"weight": weight}]
)
def test_pickled_tensors_without_numbers_are_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[torch.Tensor], Any]
) -> None:
    _stores(_makes(f"{QUERY}.weight", made), pickled=True)(local_model(workspace))
    with pytest.raises(InputError, match="can't be loaded"):
        make_baseline(workspace, monkeypatch)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update({"text_decoder.bert.embeddings.position_ids": torch.arange(64)}),
        lambda state: state.update({"retired.weight": torch.full((3,), NAN), "retired.int8": torch.zeros(3).char()}),
        _puts(f"{QUERY}.weight", 0, 1024),
        _puts(f"{QUERY}.weight", 1e-42, 1024),
        lambda state: state.update({name: tensor.to(torch.float8_e4m3fn) for name, tensor in state.items()}),
    ],
)
@pytest.mark.parametrize("pickled", [True, False])
def test_what_no_caption_depends_on_and_finite_weights_of_any_size_come_in(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensors], None], pickled: bool
) -> None:
    _stores(change, pickled)(local_model(workspace))
    assert logits(load_model(make_baseline(workspace, monkeypatch))).isfinite().all()


@pytest.mark.parametrize(
    ("file", "settings", "said"),
    [
        ("generation_config.json", {"num_beams": 3, "repetition_penalty": 1.5}, "num_beams 3, repetition_penalty 1.5"),
        ("generation_config.json", {"bos_token_id": 1, "use_cache": True, "max_length": 20, "num_beams": 1}, ""),
        ("config.json", {"max_new_tokens": 5}, "max_new_tokens 5"),
    ],
)
def test_what_a_model_asks_for_when_it_captions_is_said(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    settings: dict[str, Any],
    said: str,
) -> None:
    folder = local_model(workspace)
    content = json.loads((folder / file).read_text())
    (content["text_config"] if file == "config.json" else content).update(settings)
    (folder / file).write_text(json.dumps(content))
    make_baseline(workspace, monkeypatch)
    printed = " ".join(capsys.readouterr().out.split())
    assert ("params.yaml is what counts" in printed) == bool(said) and said in printed


READ_OF_A_FOLDER = (
    "model.safetensors",
    "pytorch_model.bin",
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def test_pointers_of_what_nobody_reads_are_no_hindrance(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = local_model(workspace)
    for name in ("tf_model.h5", "pytorch_model.bin", "optimizer.pt", "README.md"):
        (folder / name).write_text(LFS)
    make_baseline(workspace, monkeypatch)


def _no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _another_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))


def _a_blip_that_answers_questions(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BlipForQuestionAnswering"]}))


def _damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _damaged_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _half_the_weights(folder: Path) -> None:
    model = tiny_model()
    state = {name: tensor for name, tensor in model.state_dict().items() if "vision_model" in name}
    model.save_pretrained(folder, state_dict=state)


def _other_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))


def _no_preprocessor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def _no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()


def _prepares(**settings: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "preprocessor_config.json").write_text(json.dumps(OLD_PREPROCESSOR | settings))

    return spoil


def _damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


def _more_words_than_the_model(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with (folder / "vocab.txt").open("a") as file:
        file.write("one\ntwo\nthree\n")


def _ends_with(token: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["sep_token_id"] = token
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def _stands_for(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        if name == "pytorch_model.bin":
            (folder / "model.safetensors").unlink()
        (folder / name).write_text(LFS)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *((_stands_for(name), f"{name} is a pointer of Git LFS") for name in READ_OF_A_FOLDER),
        (_no_folder, "no config.json"),
        (_another_model, "another kind of model (bert, BertModel)"),
        (_a_blip_that_answers_questions, "BlipForQuestionAnswering"),
        (_damaged_config, "config.json can't be read"),
        (_damaged_weights, "can't be loaded"),
        (_no_weights, "so no weights"),
        (_half_the_weights, "lack"),
        (_other_sizes, "has the shape (64,)"),
        (_no_preprocessor, "no preprocessor_config.json"),
        (_no_tokenizer, "neither tokenizer.json nor vocab.txt"),
        (_damaged_tokenizer, "no tokenizer that can be read"),
        (_more_words_than_the_model, "a model of only"),
        (_ends_with(1_000_000), "sep_token_id"),
        (_prepares(size=384), "384 x 384 pixels for an encoder that takes 128 x 128"),
        (_prepares(size={"height": 128, "width": 96}), "96 x 128"),
        (_prepares(size={"shortest_edge": 128}), "no height and width"),
        (_prepares(size="large"), "can be read"),
        (_prepares(do_resize=False), "do_resize"),
        (_prepares(do_center_crop=True, crop_size=64), "do_center_crop"),
        (_prepares(do_pad=True, pad_size={"height": 256, "width": 256}), "pixels differ"),
        (_prepares(resample=99), "another way"),
        (_prepares(image_mean=[0.5, 0.5]), "another way"),
        (_prepares(image_std=[0, 0, 0]), "image_std"),
        (_prepares(image_mean=None), "image_mean"),
    ],
)
def test_a_folder_that_holds_no_blip_is_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(local_model(workspace))
    monkeypatch.chdir(workspace)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        download(FolderSource(folder="data/local/mine"), Path("models/baseline"))
    assert "\n" not in str(error.value)
    assert_nothing_left(workspace)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(workspace: Path) -> None:
    local_model(workspace)
    process = subprocess.run(
        ["bash", "-c", 'ulimit -f 100 && exec "$0" -B -m stages.download', sys.executable],  # files of 100 KB at most
        cwd=workspace,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(workspace), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert_one_sentence(process, "the disk is full", "free some space")
    assert_nothing_left(workspace)


def test_the_untrained_blip_has_the_published_architecture(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = build_untrained(UntrainedSource(untrained="blip-base", seed=0), tmp_path)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(224.0e6, rel=0.005)
    vision, text = model.config.vision_config, model.config.text_config
    assert (vision.image_size, vision.patch_size, vision.num_hidden_layers, vision.hidden_size) == (384, 16, 12, 768)
    assert (text.num_attention_heads, text.vocab_size, text.max_position_embeddings) == (12, 30524, 512)
    assert (text.bos_token_id, text.sep_token_id, text.eos_token_id, text.pad_token_id) == (30522, 102, 2, 0)
    assert len((tmp_path / "vocab.txt").read_text().splitlines()) == 30522


def test_the_untrained_large_blip_has_470_million_parameters(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = build_untrained(UntrainedSource(untrained="blip-large", seed=0), tmp_path)
    output_weights = model.text_decoder.cls.predictions.decoder.weight.numel()  # published counts take them twice
    assert sum(parameter.numel() for parameter in model.parameters()) + output_weights == pytest.approx(470e6, rel=0.01)


def test_demo_and_stand_in_share_blips_special_tokens() -> None:
    words = (DEMO / "vocab.txt").read_text().split()
    config = BlipConfig.from_pretrained(DEMO).text_config
    assert words[config.pad_token_id] == "[PAD]"
    assert words[config.sep_token_id] == "[SEP]"
    assert words[config.eos_token_id] == "[unused1]"
    assert config.bos_token_id == len(words)  # as in BLIP, the first token has no name
    assert set(PROCESSOR) <= {file.name for file in DEMO.iterdir()}
    assert BlipForConditionalGeneration.config_class is BlipConfig
