"""What is beside a model's weights, or in their place, in a folder and on a Hub."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.sources.contents import WEIGHT_FILES, check_folder, choose_weights, weight_files
from tests.conftest import assert_one_sentence, save_tiny_model
from tests.hub import Hub
from tests.sources.fetching import COMMIT, Fetch

Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in transformers' format."""
    return save_tiny_model(tmp_path / "model")


def adds(*names: str) -> Change:
    """Puts files there; a name that ends in / is a folder."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("{}")

    return change


def has_instead(*names: str) -> Change:
    """Puts files there in place of the weights."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink(missing_ok=True)
        (folder / "pytorch_model.bin").unlink(missing_ok=True)
        adds(*names)(folder)

    return change


def has_nothing_but(*names: str) -> Change:
    def change(folder: Path) -> None:
        shutil.rmtree(folder)
        adds(*names)(folder)

    return change


def says(**settings: Any) -> Change:
    """What config.json says besides."""

    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))

    return change


def asks_for_code(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_text(json.dumps({"auto_map": {"AutoProcessor": "mine.Mine"}}))

    return change


MERGE = ("merge_and_unload()", "save_pretrained()")
SHARD = "model-00001-of-00002.safetensors"
BESIDE: list[tuple[Change, tuple[str, ...]]] = [
    (adds("adapter_config.json", "adapter_model.safetensors"), ("adapter beside the model", *MERGE)),
    (adds("adapter_config.json"), ("adapter_config.json", *MERGE)),
    (adds("adapter_model.bin"), ("adapter_model.bin", *MERGE)),
    (adds("pytorch_lora_weights.safetensors"), ("pytorch_lora_weights.safetensors", *MERGE)),
    (adds("pytorch_adapter.bin"), ("pytorch_adapter.bin", *MERGE)),
    (adds("my-LoRA-v2.safetensors"), ("my-LoRA-v2.safetensors", *MERGE)),
    (has_nothing_but("adapter_config.json", "adapter_model.safetensors"), ("without the model", *MERGE)),
    (has_nothing_but("adapter_config.json", "adapter_model.bin", "README.md"), ("without the model", *MERGE)),
    (has_instead("adapter_config.json", "adapter_model.bin"), ("without the model", *MERGE)),
    (says(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}), ("bitsandbytes", "float")),
    (says(quantization_config={"quant_method": "gptq", "bits": 4}), ("gptq", "float")),
    (says(quantization_config={"bits": 4}), ("quantization_config", "float")),
    (says(compression_config={"quant_method": "compressed-tensors"}), ("compressed-tensors", "float")),
    (says(auto_map={"AutoModel": "mine.Mine"}), ("config.json", "code of its own", "mine.Mine")),
    (asks_for_code("tokenizer_config.json"), ("tokenizer_config.json", "code of its own")),
    (asks_for_code("preprocessor_config.json"), ("preprocessor_config.json", "code of its own")),
    (says(transformers_weights="ema.safetensors"), ("ema.safetensors", "save_pretrained()")),
    (says(model_type="blip-2", architectures=["Blip2ForConditionalGeneration"]), ("blip-2", "BLIP captioning")),
    (says(architectures=["BlipForQuestionAnswering"]), ("BlipForQuestionAnswering", "BLIP captioning")),
    (says(architectures=["BlipForImageTextRetrieval"]), ("BlipForImageTextRetrieval", "BLIP captioning")),
    (says(architectures=5), ("(blip, 5)", "BLIP captioning")),
    (has_instead("model.fp16.safetensors"), ("a variant", "model.fp16.safetensors", "variant=")),
    (has_instead("pytorch_model.ema.bin"), ("a variant", "pytorch_model.ema.bin")),
    (has_instead("model.safetensors.index.fp16.json"), ("a variant",)),
    (has_instead(SHARD, "model-00002-of-00002.safetensors"), ("without their index", SHARD)),
    (has_instead("tf_model.h5"), ("TensorFlow", "from_tf=True")),
    (has_instead("flax_model.msgpack"), ("Flax", "from_flax=True")),
    (has_instead("encoder_model.onnx", "decoder_model.onnx"), ("another program", "decoder_model.onnx")),
    (has_instead("model.gguf"), ("another program", "model.gguf")),
    (has_instead("openvino_encoder.xml", "openvino_encoder.bin"), ("another program", "openvino_encoder")),
    (has_instead("zero_to_fp32.py", "latest", "global_step500/"), ("DeepSpeed", "zero_to_fp32.py . joined")),
    (has_instead("pytorch_model_fsdp_0/"), ("FSDP", "accelerate merge-weights")),
    (has_instead("model_base_caption_capfilt_large.pth"), ("another name", "capfilt_large.pth", "convert")),
    (has_instead("ema.safetensors"), ("another name", "ema.safetensors", "rename")),
    (has_instead("vision_model/"), ("no weights", "fetch the whole model")),
    (has_nothing_but("README.md"), ("no config.json", "params.yaml")),
]


@pytest.mark.parametrize(("change", "parts"), BESIDE)
def test_what_a_folder_holds_that_would_be_lost_is_named(folder: Path, change: Change, parts: tuple[str, ...]) -> None:
    change(folder)
    with pytest.raises(InputError) as error:
        check_folder(folder)
    for part in (str(folder), *parts):
        assert part in str(error.value)
    assert len(str(error.value)) < 480


@pytest.mark.parametrize(
    "trained", [("config.json", "model.safetensors"), ("adapter_config.json", "adapter_model.bin")]
)
@pytest.mark.parametrize("root", ["README.md", "trainer_state.json"])
def test_the_folders_of_a_training_are_named(folder: Path, trained: tuple[str, ...], root: str) -> None:
    names = [f"checkpoint-{step}/{name}" for step in (500, 1000) for name in trained]
    has_nothing_but(root, *names)(folder)
    with pytest.raises(InputError, match=re.escape("checkpoint-500, checkpoint-1000): name one")):
        check_folder(folder)


def test_the_folders_of_a_training_on_a_hub_are_named(fetch: Fetch, hub: Hub) -> None:
    has_nothing_but("README.md", "checkpoint-500/config.json")(hub.folder)
    assert_one_sentence(fetch(), "no config.json", "checkpoint-500")


OTHERS = ("pytorch_model.bin", "tf_model.h5", "ema.safetensors", "checkpoint-500/adapter_config.json")
IGNORED = ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "chat_template.jinja")


def test_weights_that_transformers_leaves_out_too_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adds(*OTHERS[:2], *IGNORED)(folder)
    check_folder(folder)
    said = " ".join(capsys.readouterr().out.split())
    assert "model.safetensors is read and not, as in transformers, tf_model.h5, pytorch_model.bin" in said
    adds(*OTHERS[2:])(folder)
    check_folder(folder)
    assert "and 1 more" in " ".join(capsys.readouterr().out.split())


def test_nothing_is_said_of_what_any_training_leaves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adds(*IGNORED, "checkpoint-500/config.json", "runs/")(folder)
    check_folder(folder)
    assert not capsys.readouterr().out


def test_a_hub_says_what_it_leaves_out(fetch: Fetch, hub: Hub) -> None:
    adds("tf_model.h5", "optimizer.pt")(hub.folder)
    process = fetch()
    assert process.returncode == 0, process.stderr
    assert "pytorch_model.bin is read and not, as in transformers, tf_model.h5" in " ".join(process.stdout.split())


def test_what_another_program_fetched_only_in_part_is_looked_at(
    fetch: Fetch,
    hub: Hub,
    tmp_path: Path,
) -> None:
    snapshot = tmp_path / "cache/hub/models--somebody--blip-tiny/snapshots" / COMMIT
    shutil.copytree(hub.folder, snapshot)
    (hub.folder / "adapter_config.json").write_text("{}")
    assert_one_sentence(fetch(), "adapter_config.json", *MERGE)
    shutil.copy(hub.folder / "adapter_config.json", snapshot)
    assert_one_sentence(fetch(HF_HUB_OFFLINE="1"), "adapter_config.json", *MERGE)


@pytest.mark.parametrize("chosen", range(4))
def test_of_several_weights_those_are_chosen_that_transformers_would(chosen: int) -> None:
    assert choose_weights("here", ["config.json", *reversed(WEIGHT_FILES[chosen:])]) == WEIGHT_FILES[chosen]


@pytest.mark.parametrize(
    "weight_map",
    [None, {}, [], "x", {"a": "../model.safetensors"}, {"a": "/etc/passwd"}, {"a": "model.bin"}, {"a": 5}],
)
def test_an_index_names_files_beside_it(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(InputError, match="does not say which files"):
        weight_files(folder, "model.safetensors.index.json")


@given(st.lists(st.text() | st.sampled_from(["config.json", *WEIGHT_FILES, *IGNORED])))
def test_whatever_names_there_are_is_a_choice_or_a_sentence(names: list[str]) -> None:
    try:
        assert choose_weights("here", names) in names
    except InputError as error:
        assert len(str(error)) <= 500 and "\n" not in str(error)
