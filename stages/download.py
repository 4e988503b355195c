"""DVC stage `download`: brings the chosen model into `models/baseline`, as float32 safetensors."""

import shutil
from pathlib import Path
from pickle import UnpicklingError

import torch
import transformers
from httpx2 import HTTPError  # what the Hub's client lets through when a connection fails
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from rich import print
from safetensors import SafetensorError
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.checkpoint import BASELINE, PROCESSOR_FILES, Manifest, replacing, save_weights, seal, sha256
from stages.command_line import InputError, run
from stages.instruction_sets import instruction_sets
from stages.machine import library_versions
from stages.params import HubSource, Source, UntrainedSource, read_params
from stages.runtimes.pytorch import weights

PICKLE = "pytorch_model.bin"
# BLIP's published sizes, where they differ from transformers' own default configuration.
UNTRAINED_SIZES: dict[str, dict[str, int]] = {
    "blip-base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "blip-large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
}


def download(source: Source, output: Path) -> None:
    """Writes the model of a source as the baseline checkpoint.

    Raises InputError if the source can't be reached or is not a BLIP captioning model; nothing is left behind then.
    """
    with replacing(output) as unfinished:
        if isinstance(source, UntrainedSource):
            model = build_untrained(source, unfinished)
        else:
            folder = _fetch(source) if isinstance(source, HubSource) else Path(source.folder)
            model = _load(folder)
            _copy_processor(folder, unfinished)
        model.config.to_json_file(unfinished / "config.json", use_diff=False)
        save_weights(weights(model), unfinished)
        manifest = Manifest(
            origin=source.model_dump(mode="json", exclude_none=True),
            recipe={},
            passes={},
            libraries=library_versions("torch", "transformers"),
            validated_on=instruction_sets(),
        )
        seal(unfinished, manifest)


def _fetch(source: HubSource) -> Path:
    """Downloads what is needed of a pinned commit into the Hub's own cache, where a broken download resumes."""
    try:
        folder = _fetch_files(source, ["config.json", *PROCESSOR_FILES, "*.safetensors", "*.safetensors.index.json"])
        if not list(folder.glob("*.safetensors")):
            folder = _fetch_files(source, [PICKLE])
    except GatedRepoError:
        raise InputError(
            f"{source.hub} asks for a login: accept its terms on the Hub and run `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{source.hub} has no commit {source.revision}: correct its revision in params.yaml") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"the Hub has no model {source.hub}, or not for you: correct its name in params.yaml"
        ) from None
    except (FileNotFoundError, ConnectionError, HTTPError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(
            f"{source.hub} can't be downloaded ({reason}): check the network and run this again, it will resume; "
            "without a network, set model to demo or blip-base-untrained"
        ) from None
    _check_pickle(folder, source)
    return folder


def _fetch_files(source: HubSource, patterns: list[str]) -> Path:
    return Path(snapshot_download(source.hub, revision=source.revision, allow_patterns=patterns))


def _check_pickle(folder: Path, source: HubSource) -> None:
    file = folder / PICKLE
    if not file.is_file() or list(folder.glob("*.safetensors")):
        return
    digest = sha256(file)
    if source.sha256 is None:
        raise InputError(f"{source.hub} has only pickled weights: pin them with sha256: {digest} in params.yaml")
    if digest != source.sha256:
        raise InputError(f"{source.hub}: {PICKLE} has SHA-256 {digest}, not the one in params.yaml: do not trust it")


def _load(folder: Path) -> BlipForConditionalGeneration:
    """The model in a folder in transformers' format. Raises InputError if it is no BLIP captioning model."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no config.json, so no model in transformers' format: correct it in params.yaml"
        )
    try:
        config, _ = BlipConfig.get_config_dict(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({str(error).splitlines()[0]}): fetch it again") from None
    architectures = config.get("architectures") or ["BlipForConditionalGeneration"]
    if config.get("model_type") != "blip" or "BlipForConditionalGeneration" not in architectures:
        found = f"{config.get('model_type')}, {', '.join(architectures)}"
        raise InputError(f"{folder} holds another kind of model ({found}): name a BLIP captioning model in params.yaml")
    try:
        transformers.logging.disable_progress_bar()
        model, report = BlipForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, weights_only=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise InputError(
            f"the weights in {folder} can't be loaded ({str(error).splitlines()[0]}): fetch them again"
        ) from None
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"the weights in {folder} lack {len(missing)} tensors of a BLIP, {missing[0]} first: choose another"
        )
    if surplus := sorted(report["unexpected_keys"]):
        print(f"left out {len(surplus)} tensors that BLIP has no use for: {', '.join(surplus)}")
    model.config.architectures = ["BlipForConditionalGeneration"]
    return model


def _copy_processor(folder: Path, output: Path) -> None:
    if not (folder / "preprocessor_config.json").is_file():
        raise InputError(
            f"{folder} has no preprocessor_config.json: a captioning model needs one; fetch the whole model"
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise InputError(f"{folder} has neither tokenizer.json nor vocab.txt: fetch the whole model")
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)


def build_untrained(source: UntrainedSource, folder: Path) -> BlipForConditionalGeneration:
    """BLIP's real architecture with seeded random weights; its processor's files go into `folder`."""
    torch.manual_seed(source.seed)
    vision = UNTRAINED_SIZES[source.untrained]
    # bert-base-uncased's layout, with made-up words: the size of the vocabulary takes time, its spelling doesn't.
    unused = [f"[unused{number}]" for number in range(99)]
    words = [f"word{number}" for number in range(30522 - 104)]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    BertTokenizer(str(vocabulary), do_lower_case=True, model_max_length=512).save_pretrained(folder)
    BlipImageProcessorPil().save_pretrained(folder)
    config = BlipConfig(
        # transformers would start the encoder with weights next to 0, which are not as slow as trained ones.
        vision_config={
            **vision,
            "image_size": 384,
            "patch_size": 16,
            "layer_norm_eps": 1e-5,
            "initializer_range": 0.02,
        },
        text_config={
            "encoder_hidden_size": vision["hidden_size"],
            "vocab_size": 30524,
            "num_attention_heads": 12,
            "bos_token_id": 30522,
            "eos_token_id": 2,
            "sep_token_id": 102,
            "pad_token_id": 0,
        },
        architectures=["BlipForConditionalGeneration"],
    )
    model = BlipForConditionalGeneration(config)
    # Fresh biases are all 0 and fresh scales all 1: engines would leave those operations out, and trained ones can't.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model


def main() -> None:
    """Downloads the model that params.yaml chooses."""
    download(read_params().chosen_model().source, BASELINE)


if __name__ == "__main__":
    run(main)
