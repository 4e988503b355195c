"""What lies in a model's folder, by names and configuration alone: which files hold its weights, and what is beside
them that transformers or peft would load and this project doesn't.

One decision for a folder and for a Hub's list of a commit, so that nothing is downloaded in vain.
"""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich import print

from stages.captioner.checkpoint import WEIGHTS
from stages.captioner.command_line import InputError, brief, few, refuse_pointer

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
IMAGE_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
VOCABULARIES = ("tokenizer.json", "vocab.txt")
CONFIGURATION = (
    CONFIG,
    *IMAGE_PROCESSORS,
    *VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
PICKLE = "pytorch_model.bin"
INDEX, PICKLE_INDEX = f"{WEIGHTS}.index.json", f"{PICKLE}.index.json"
# In the order in which transformers looks for them.
WEIGHT_FILES = (WEIGHTS, INDEX, PICKLE, PICKLE_INDEX)

# How peft, AdapterHub, diffusers and people name adapters.
ADAPTER = re.compile(
    r"adapter_config\.json|adapter_model\..*|pytorch_(adapter|lora_weights)\..*"
    r"|(.*[^a-z])?lora([^a-z].*)?\.(safetensors|bin|pt|pth|ckpt)",
    re.IGNORECASE,
)
SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
# What a training needs to go on, and no model does.
TRAINING = re.compile(r"(optimizer|scheduler|scaler)\.(bin|pt)|rng_state.*\.pth|training_args\.bin")
TRAINERS_FOLDER = re.compile(r"checkpoint-\d+")
OTHER_WEIGHTS = re.compile(r".*\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|gguf)")
# What there may be in place of weights that transformers finds by itself, and what to do with it.
INSTEAD = (
    (SHARD, "parts of weights without their index", "fetch the whole model"),
    (
        re.compile(r"(model|pytorch_model)\.[\w-]+\.(safetensors|bin)|.*\.index\.[\w-]+\.json"),
        "a variant of the weights, which transformers takes only if told to",
        "load it with from_pretrained(…, variant=…) and save_pretrained() it to another folder",
    ),
    (
        re.compile(r"zero_to_fp32\.py|global_step\d+|.*_(model|optim)_states\.pt"),
        "parts of a training with DeepSpeed",
        "join them with `python zero_to_fp32.py . joined --safe_serialization`",
    ),
    (
        re.compile(r"pytorch_model_fsdp_\d+|.*\.distcp"),
        "parts of a training with FSDP",
        "join them with `accelerate merge-weights`",
    ),
    (
        re.compile(r"tf_model.*\.h5|flax_model.*\.msgpack"),
        "weights of TensorFlow or Flax",
        "load them in transformers 4 with from_tf=True or from_flax=True, and save_pretrained() them",
    ),
    (
        re.compile(r".*\.(gguf|onnx|tflite|mlmodel)|openvino_.*\.(xml|bin)"),
        "a model written for another program",
        "name the model that it was made of",
    ),
    (
        OTHER_WEIGHTS,
        f"weights of another name than {WEIGHTS}",
        "rename them if they are transformers', convert them with its script if they are BLIP's original .pth",
    ),
)


def check_folder(folder: Path) -> None:
    """Looks at what a folder holds, and says which weights in it are not read.

    Raises InputError as `choose_weights` and `check_configuration` do, and if a file that is read stands for another.
    """
    for path in (folder, *(folder / name for name in CONFIGURATION)):
        refuse_pointer(path)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder} holds no {CONFIG}, so no model in transformers' format ({error.strerror}): correct it in "
            "params.yaml"
        ) from None
    files = {path.name for path in entries if not path.is_dir()}
    models = [path.name for path in entries if any((path / name).is_file() for name in (CONFIG, ADAPTER_CONFIG))]
    names = {path.name for path in entries}
    for name in next(([name] for name in WEIGHT_FILES if name in names), WEIGHT_FILES):
        refuse_pointer(folder / name)  # also where only DVC's record of it is here
    chosen = choose_weights(folder, names, models)
    for name in weight_files(folder, chosen):
        refuse_pointer(folder / name)
    check_configuration(folder)
    adapters = [f"{name}/{ADAPTER_CONFIG}" for name in models if (folder / name / ADAPTER_CONFIG).is_file()]
    say_left_out(folder, weight_files(folder, chosen), [*files, *adapters])


def choose_weights(where: object, names: Collection[str], models: Collection[str] = ()) -> str:
    """The file that transformers would load a model's weights from, or the index of such files.

    `names` are those of all files and folders, `models` those of folders that may hold a model. Raises InputError if
    there is an adapter, whose changes would be lost, or if there is no such file.
    """
    if adapters := _matching(ADAPTER, names):
        _refuse_adapter(where, adapters, alone=not any(name in names for name in WEIGHT_FILES))
    if CONFIG not in names:
        raise InputError(
            f"{where} holds no {CONFIG}, so no model in transformers' format"
            + (f"; its folders may ({few(models)}): name one of them" if models else ": correct it in params.yaml")
        )
    if chosen := next((name for name in WEIGHT_FILES if name in names), None):
        return chosen
    for pattern, what, remedy in INSTEAD:
        if found := _matching(pattern, names):
            raise InputError(f"{where} has no {WEIGHTS} and no {PICKLE}, but {what} ({few(found)}): {remedy}")
    raise InputError(
        f"{where} has no {WEIGHTS} and no {PICKLE}, so no weights: "
        + (f"name one of its folders ({few(models)})" if models else "fetch the whole model, or choose another")
    )


def _refuse_adapter(where: object, adapters: list[str], alone: bool) -> None:
    merge = "with peft, merge_and_unload(), save_pretrained() to a new folder with the processor's files, and name that"
    if alone:
        raise InputError(
            f"{where} is an adapter ({few(adapters)}) without the model that it changes: load that model and the "
            f"adapter {merge}"
        )
    raise InputError(
        f"{where} holds an adapter beside the model ({few(adapters)}), and without it the captions are other ones: "
        f"load both {merge}; or name a folder without it"
    )


def check_configuration(folder: Path) -> None:
    """Raises InputError if a folder's configuration is not a BLIP captioning model's, in float and without own code."""
    config = _read_json(folder / CONFIG)
    named = config.get("architectures") or ["BlipForConditionalGeneration"]
    architectures = named if isinstance(named, list) else [named]
    if config.get("model_type") != "blip" or "BlipForConditionalGeneration" not in architectures:
        found = f"{config.get('model_type')}, {', '.join(map(str, architectures))}"[:100]
        raise InputError(f"{folder} holds another kind of model ({found}): name a BLIP captioning model in params.yaml")
    if quantization := config.get("quantization_config") or config.get("compression_config"):
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise InputError(
            f"{folder} holds weights that are quantized already (quantization_config: {brief(method)}), which this "
            "project does itself: name the float model that they were made of"
        )
    if name := config.get("transformers_weights"):
        raise InputError(
            f"{folder / CONFIG} names another file of weights (transformers_weights: {brief(name)}): load the model "
            "with from_pretrained and save_pretrained() it to another folder"
        )
    for name in (CONFIG, *IMAGE_PROCESSORS, "tokenizer_config.json"):
        if (folder / name).is_file() and (code := _read_json(folder / name).get("auto_map")):
            raise InputError(
                f"{folder / name} asks for code of its own (auto_map: {brief(code)}), which is not run here: name a "
                "model that is BLIP as transformers has it"
            )


def weight_files(folder: Path, chosen: str) -> list[str]:
    """The files that hold the weights: the chosen one, or those that it, an index in `folder`, names."""
    if chosen not in (INDEX, PICKLE_INDEX):
        return [chosen]
    suffix = Path(WEIGHTS if chosen == INDEX else PICKLE).suffix
    names = _read_json(folder / chosen).get("weight_map")
    files = sorted(set(map(str, names.values()))) if isinstance(names, dict) else []
    if not files or not all(Path(name).name == name and name.endswith(suffix) for name in files):
        raise InputError(f"{folder / chosen} does not say which files hold the weights: fetch it again")
    return files


def say_left_out(where: object, read: Collection[str], names: Collection[str]) -> None:
    """Prints which weights are not read, as transformers reads none of them by itself either."""
    weights = set(_matching(OTHER_WEIGHTS, names)) - set(_matching(TRAINING, names)) - set(read)
    if others := [*weights, *(name for name in names if name.endswith(f"/{ADAPTER_CONFIG}"))]:
        print(f"of {where}, {few(read)} is read and not, as in transformers, {few(others)}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read ({brief(error)}): fetch it again") from None


def _matching(pattern: re.Pattern[str], names: Collection[str]) -> list[str]:
    return sorted(name for name in names if pattern.fullmatch(name))
