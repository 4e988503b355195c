import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import BlipConfig, BlipForConditionalGeneration

from stages.checkpoint import MANIFEST, read_manifest, sha256, verify_files
from stages.command_line import InputError
from stages.download import build_untrained, download
from stages.params import FolderSource, UntrainedSource
from stages.runtimes.pytorch import load_model
from tests.conftest import DEMO, PROCESSOR, PROJECT, RunStage, assert_one_sentence, save_tiny_model, tiny_model
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
    params["models"]["mine"] = {"source": source, "dataset": {"kind": "photographs"}, "sessions": 2}
    path.write_text(yaml.safe_dump(params | {"model": "mine"}))


def assert_nothing_left(workspace: Path) -> None:
    models = workspace / "models"
    assert not models.exists() or not list(models.iterdir())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository like Salesforce's: its weights are pickled, with a tied copy and an old buffer too many."""
    folder = save_tiny_model(tmp_path / "repository")
    (folder / "model.safetensors").unlink()
    model = tiny_model()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
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
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
        return run_stage("download", cwd=workspace, **environment)

    return run


def test_pickled_weights_from_a_hub_become_a_checkpoint(download_from: Any, workspace: Path, hub: Hub) -> None:
    process = download_from()
    assert process.returncode == 0, process.stderr
    assert "text_decoder.retired_head.weight" in process.stdout.replace("\n", "")
    checkpoint = workspace / "models" / "baseline"
    manifest = read_manifest(checkpoint)
    verify_files(checkpoint, manifest)
    assert manifest.origin["revision"] == COMMIT
    expected = tiny_model().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_model(checkpoint).state_dict().items())
    assert not {file.suffix for file in checkpoint.iterdir()} & {".bin", ".h5", ".pkl"}
    assert "tf_model.h5" not in hub.downloaded


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


def test_a_broken_download_resumes_where_it_broke(download_from: Any, hub: Hub) -> None:
    hub.cut_after = 12_000_000
    process = download_from()
    assert process.returncode == 0, process.stderr
    assert hub.requested_ranges, "the second attempt started from the first byte"


def test_a_download_that_keeps_breaking_is_one_sentence(download_from: Any, workspace: Path, hub: Hub) -> None:
    hub.cut_after = 300_000
    assert_one_sentence(download_from(), "run this again, it will resume")
    assert_nothing_left(workspace)


def test_no_network_is_one_sentence_that_says_what_works_without(
    workspace: Path, run_stage: RunStage, tmp_path: Path
) -> None:
    choose(workspace, {"hub": REPOSITORY, "revision": COMMIT})
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    process = run_stage("download", cwd=workspace, **environment)
    assert_one_sentence(process, "check the network", "blip-base-untrained")
    assert_nothing_left(workspace)


def local_model(workspace: Path) -> Path:
    choose(workspace, {"folder": "data/local/mine"})
    return save_tiny_model(workspace / "data" / "local" / "mine")


def test_a_local_folder_becomes_a_checkpoint(workspace: Path, run_stage: RunStage) -> None:
    local_model(workspace)
    assert run_stage("download", cwd=workspace).returncode == 0
    assert (workspace / "models" / "baseline" / MANIFEST).is_file()


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


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_folder, "no config.json"),
        (_another_model, "another kind of model (bert, BertModel)"),
        (_a_blip_that_answers_questions, "BlipForQuestionAnswering"),
        (_damaged_config, "config.json can't be read"),
        (_damaged_weights, "can't be loaded"),
        (_no_weights, "can't be loaded"),
        (_half_the_weights, "lack"),
        (_other_sizes, "can't be loaded"),
        (_no_preprocessor, "no preprocessor_config.json"),
        (_no_tokenizer, "neither tokenizer.json nor vocab.txt"),
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
        [sys.executable, "-m", "stages.download"],
        cwd=workspace,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(workspace), "PATH": "/usr/bin:/bin"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
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
