"""Models as transformers builds them: from a folder's files, or with random weights."""

import stages.sources.hub_environment  # noqa: F401  (first, as its docstring says)

# isort: split

import os
from pathlib import Path

import torch
import transformers
from rich import print
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.checkpoint import WEIGHTS
from stages.captioner.command_line import InputError, brief, refuse_pointer
from stages.params import UntrainedSource
from stages.sources.hub import CONFIGURATION

# BLIP's published sizes, where they differ from transformers' own default configuration.
UNTRAINED_SIZES: dict[str, dict[str, int]] = {
    "blip-base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "blip-large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
}


def load_blip(folder: Path) -> BlipForConditionalGeneration:
    """The model in a folder in transformers' format. Raises InputError if it is no BLIP captioning model."""
    _refuse_pointers(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no config.json, so no model in transformers' format: correct it in params.yaml"
        )
    try:
        config, _ = BlipConfig.get_config_dict(folder, local_files_only=True)
        architectures = list(config.get("architectures") or ["BlipForConditionalGeneration"])
    except Exception as error:  # transformers checks little, so whatever is wrong comes out as it happens to
        raise InputError(f"{path} can't be read ({brief(error)}): fetch it again") from None
    if config.get("model_type") != "blip" or "BlipForConditionalGeneration" not in architectures:
        found = f"{config.get('model_type')}, {', '.join(map(str, architectures))}"[:100]
        raise InputError(f"{folder} holds another kind of model ({found}): name a BLIP captioning model in params.yaml")
    try:
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        model, report = BlipForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, weights_only=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # as above; weights_only refuses what would run code
        raise InputError(f"the weights in {folder} can't be loaded ({brief(error)}): fetch them again") from None
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"the weights in {folder} lack {len(missing)} tensors of a BLIP, {missing[0]} first: choose another"
        )
    if surplus := sorted(report["unexpected_keys"]):
        more = f" and {len(surplus) - 5} more" if len(surplus) > 5 else ""
        print(f"left out {len(surplus)} tensors that BLIP has no use for: {', '.join(surplus[:5])}{more}")
    _settle_ties(model)
    model.config.architectures = ["BlipForConditionalGeneration"]
    for config in (model.config, model.config.text_config, model.config.vision_config):
        config.name_or_path = ""  # the folder of whoever loads it
        config.dtype = torch.float32
    return model


def _refuse_pointers(folder: Path) -> None:
    """Raises InputError if a file that is read of a model's folder only stands for another."""
    kinds = ([folder / WEIGHTS], sorted(folder.glob("model-*.safetensors")), sorted(folder.glob("pytorch_model*.bin")))
    read = next((files for files in kinds if any(map(os.path.lexists, files))), [])
    for file in [folder, *(folder / name for name in CONFIGURATION), *read]:
        refuse_pointer(file)


def _settle_ties(model: BlipForConditionalGeneration) -> None:
    """Makes the configuration say whether the output layer shares its tensors.

    transformers shares them if the configuration says so, unless the files hold two that differ; and when it reads a
    checkpoint whose configuration says no, it expects each tensor.
    """
    output, words = model.text_decoder.cls.predictions, model.text_decoder.bert.embeddings.word_embeddings
    tied = output.decoder.weight is words.weight and output.decoder.bias is output.bias
    for config in (model.config, model.config.text_config):
        config.tie_word_embeddings = tied
    if not tied:
        for name, parameter in list(output.decoder.named_parameters()):
            setattr(output.decoder, name, torch.nn.Parameter(parameter.detach().clone()))


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
