"""Models as transformers builds them: from a folder's files, or with random weights."""

import stages.sources.hub_environment  # noqa: F401  (first, as its docstring says)

# isort: split

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from rich import print
from safetensors import safe_open
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.command_line import InputError, brief
from stages.setup.params import UntrainedSource
from stages.sources.contents import WEIGHT_FILES, weight_files

# BLIP's published sizes, where they differ from transformers' own default configuration.
UNTRAINED_SIZES: dict[str, dict[str, int]] = {
    "blip-base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "blip-large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
}
# What peft calls the tensors of a model that it has changed.
ADAPTED = re.compile(r"\b(base_layer|lora_|ia3_|oft_|boft_|vera_|hada_|lokr_|modules_to_save|adapter)")
# What a model may ask for when it captions, in transformers' words, and what asks for nothing.
DECODING = {
    "max_length": 20,
    "max_new_tokens": 20,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_beams": 1,
    "length_penalty": 1,
    "early_stopping": False,
    "repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "do_sample": False,
}


def load_blip(folder: Path) -> BlipForConditionalGeneration:
    """The model in a folder whose contents have been looked at, in float32.

    Raises InputError if its weights are not all there, not of the shapes that its configuration says, or no finite
    floats.
    """
    try:
        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        model, report = BlipForConditionalGeneration.from_pretrained(
            folder,
            dtype=torch.float32,
            weights_only=True,  # which refuses what would run code
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are named below
            output_loading_info=True,
        )
    except Exception as error:  # transformers checks little, so whatever is wrong comes out as it happens to
        raise InputError(f"the weights in {folder} can't be loaded ({brief(error)}): fetch them again") from None
    _check_names(folder, report)
    _check_types(folder, model)
    _check_values(folder, model)
    _say_decoding(folder, model)
    _settle_ties(model)
    model.config.architectures = ["BlipForConditionalGeneration"]
    for config in (model.config, model.config.text_config, model.config.vision_config):
        config.name_or_path = ""  # the folder of whoever loads it
        config.dtype = torch.float32
    return model


def _check_names(folder: Path, report: Mapping[str, Collection[Any]]) -> None:
    """Compares the names and shapes of what was loaded with those of a BLIP, by transformers' report."""
    missing, surplus = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    more = f" and {len(surplus) - 5} more" if len(surplus) > 5 else ""
    if adapted := [name for name in surplus if ADAPTED.search(name)]:
        raise InputError(
            f"the weights in {folder} hold {len(adapted)} tensors of an adapter, {adapted[0]} first, which transformers"
            " leaves out: merge it with peft's merge_and_unload(), then save_pretrained()"
        )
    if missing:
        others = f", and hold {len(surplus)} that it has no use for, {surplus[0]} first" if surplus else ""
        raise InputError(
            f"the weights in {folder} lack {len(missing)} tensors of a BLIP, {missing[0]} first{others}: choose another"
        )
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, expected = mismatched[0]
        raise InputError(
            f"{name} in {folder} has the shape {tuple(found)}, and by config.json it would have {tuple(expected)}: "
            "fetch the whole model again"
        )
    if any(name.startswith("text_encoder.") for name in surplus):
        raise InputError(
            f"the weights in {folder} have a text_encoder, so they are of a BLIP that answers questions or finds "
            "pictures: name a BLIP captioning model in params.yaml"
        )
    if surplus:
        print(f"left out {len(surplus)} tensors that BLIP has no use for: {', '.join(surplus[:5])}{more}")


def _check_types(folder: Path, model: BlipForConditionalGeneration) -> None:
    """Raises InputError if tensors are stored as integers or complex numbers: transformers makes floats of them."""
    chosen = next(name for name in WEIGHT_FILES if (folder / name).is_file())
    own = model.state_dict().keys()
    for file in weight_files(folder, chosen):
        for name, dtype in _other_than_floats(folder / file):
            if name in own:
                raise InputError(
                    f"{name} in {folder} is stored as {dtype}, so it is quantized or no weight: name the float model "
                    "that it was made of"
                )


def _check_values(folder: Path, model: BlipForConditionalGeneration) -> None:
    """Raises InputError if a tensor holds inf or NaN, as after a training that diverged or where float16 overflowed."""
    spoiled = {
        name: (count, parameter.numel())
        for name, parameter in model.named_parameters()
        if (count := parameter.numel() - int(parameter.isfinite().sum()))
    }
    if spoiled:
        name, (count, numbers) = next(iter(spoiled.items()))
        more = f", and for some in {len(spoiled) - 1} more tensors" if len(spoiled) > 1 else ""
        raise InputError(
            f"the weights in {folder} have inf or NaN for {count} of the {numbers} numbers in {name} "
            f"({100 * count / numbers:.3g} %){more}: take weights from before the training diverged, or save them in "
            "float32 if float16 was too small"
        )


def _other_than_floats(file: Path) -> Iterator[tuple[str, str]]:
    """Names and types of the tensors in a file that are no floats."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118, it is no dict
                dtype = tensors.get_slice(name).get_dtype()
                if not dtype.startswith(("F", "BF")):
                    yield name, dtype
        return
    for name, tensor in torch.load(file, map_location="meta", weights_only=True).items():
        if isinstance(tensor, torch.Tensor) and not tensor.is_floating_point():
            yield name, str(tensor.dtype)


def _say_decoding(folder: Path, model: BlipForConditionalGeneration) -> None:
    """Prints what a model asks for when it captions. That is params.yaml's business; of BLIP, transformers itself reads
    no generation_config.json, as the decoder in it captions, which is configured in config.json.
    """
    asked = model.generation_config.to_diff_dict() | model.text_decoder.generation_config.to_diff_dict()
    different = {name: asked[name] for name, usual in DECODING.items() if asked.get(name, usual) not in (usual, None)}
    if settings := [f"{name} {brief(value)}" for name, value in different.items()]:
        print(f"{folder} asks for captions with {', '.join(settings)}: `decoding` in params.yaml is what counts")


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
