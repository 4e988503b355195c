"""The schema of params.yaml: what may be set, within which bounds."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.captioner.command_line import InputError, brief, explain, read_text
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding

PARAMS = Path("params.yaml")
# Checkpoints and records name where they came from: so that they do not differ from user to user, nor tell his folders.
OWN_FOLDER, DEMO_FOLDER = "data/local/", "data/demo"
Threads = Annotated[int, Field(ge=1), BeforeValidator(lambda value: usable_cores() if value == "auto" else value)]
# Names become folders, arguments of commands and, for DVC, parts of dotted keys.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`, which has no value of its own
RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)


def _check_place(path: str) -> str:
    if path != DEMO_FOLDER and (not path.startswith(OWN_FOLDER) or ".." in Path(path).parts):
        raise ValueError(
            f"{path} is a place of this machine: put it, or a link to it, below {OWN_FOLDER} and name that"
        )
    return path


LocalPath = Annotated[str, AfterValidator(_check_place)]


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            "a name is up to 64 letters, digits, _ and -, the first no -, as DVC splits at dots: rename it"
        )
    if RESERVED.fullmatch(name):
        raise ValueError(f"{name} is the name of a device on Windows: rename it")
    return name


Name = Annotated[str, AfterValidator(_check_name)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # what never ends is no time


class HubSource(_Frozen):
    """A model on a Hugging Face Hub, pinned to a commit; `sha256` is that of its weights if they are pickled."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="the commit's 40 hexadecimal digits")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class FolderSource(_Frozen):
    """A model in a local folder in transformers' own format."""

    folder: LocalPath


class UntrainedSource(_Frozen):
    """The real architecture with seeded random weights: for timing where no download is possible."""

    untrained: Literal["blip-base", "blip-large"]
    seed: int


Source = Annotated[
    Annotated[HubSource, Tag("hub")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[UntrainedSource, Tag("untrained")],
    Discriminator(
        lambda value: next((key for key in ("hub", "folder", "untrained") if key in value), None),
        custom_error_type="source",
        custom_error_message="needs one of the keys hub, folder or untrained",
    ),
]


SearchPictures = Annotated[int, Field(ge=0, description="how many others `make search` tries recipes on")]


class Scenes(_Frozen):
    """Drawn scenes, for the embedded demo captioner."""

    kind: Literal["scenes"]
    evaluation: int = Field(ge=2)
    calibration: int = Field(ge=1)
    search: SearchPictures = 0


class Photographs(_Frozen):
    """The public-domain photographs that scikit-image ships, captioned for this project."""

    kind: Literal["photographs"]


class Coco(_Frozen):
    """A folder of pictures with captions in COCO's annotation format or another that `stages.pictures` reads."""

    kind: Literal["coco"]
    images: LocalPath
    annotations: LocalPath = Field(description="a captions file, or a folder with a text file for each picture")
    evaluation: int = Field(ge=2, description="how many pictures to evaluate on, the first in the captions' order")
    calibration: int = Field(ge=1, description="how many of the pictures after those calibrate")
    search: SearchPictures = 0


class Folder(_Frozen):
    """A folder of pictures without captions, for those that a captioner is to be used on."""

    kind: Literal["folder"]
    images: LocalPath
    evaluation: int = Field(ge=2, description="how many pictures to evaluate on")
    calibration: int = Field(ge=1, description="how many others calibrate")
    search: SearchPictures = 0


class Noise(_Frozen):
    """Random pictures without captions, for models whose captions mean nothing."""

    kind: Literal["noise"]
    evaluation: int = Field(ge=2)
    calibration: int = Field(ge=1)
    search: SearchPictures = 0
    seed: int = 0


Dataset = Annotated[Scenes | Photographs | Coco | Folder | Noise, Discriminator("kind")]


class Model(_Frozen):
    """Where a baseline comes from and on which pictures its variants are judged."""

    source: Source
    dataset: Dataset
    speedup_within: float = Field(gt=0, description="timing ends once the speed-up is known to this share of itself")
    benchmark_seconds: float = Field(ge=0, description="or once it has taken so long, whichever comes first")


class Tokens(_Frozen):
    """Merging of patches that look alike, in the layers of the encoder."""

    merged: float = Field(gt=0, lt=0.5, description="into others in each layer, as a share of a picture's patches")
    from_layer: int = Field(1, ge=1, description="the first layer that merges, counted from 1")


class Vocabulary(_Frozen):
    """Rows of the decoder's output layer for those tokens only that captions use."""

    captions: LocalPath | None = Field(
        None, description="a captions file, or a .txt with a caption in each line, whose words are kept too"
    )


class Prune(_Frozen):
    """Unstructured pruning of every linear layer's weight, by magnitude or by what it gives on the calibration
    pictures, or heads and neurons taken out."""

    method: Literal["l1_unstructured", "wanda", "sparsegpt", "structured"]
    amount: float = Field(
        ge=0, lt=1, description="of each weight; structured: of a picture's multiplications, and of a word's"
    )
    decoder_amount: float | None = Field(
        None, ge=0, lt=1, description="structured: of a word's multiplications, if not as much as of a picture's"
    )

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        if self.decoder_amount is not None and self.method != "structured":
            raise ValueError("decoder_amount is for method: structured, others zero every layer alike: leave it out")
        if self.amount == 0 and not self.decoder_amount:
            raise ValueError("an amount of 0 leaves all as it is: set it above 0, or leave prune out")
        return self


class Recover(_Frozen):
    """A short distillation from the baseline, after what was cut."""

    steps: int = Field(ge=1, le=100_000, description="of 16 pictures each")
    part: Literal["decoder", "model"] = Field(
        "decoder", description="what learns; with the encoder it takes ten times as long"
    )
    learning_rate: float = Field(1e-4, gt=0, le=0.01, description="at its highest")
    captions: LocalPath | None = Field(
        None, description="a captions file, or a .txt with a caption in each line, to learn to continue as well"
    )


class Quantize(_Frozen):
    """Quantization to int8: of weights, and of activations on the fly or with ranges that calibration pictures give."""

    scheme: Literal["dynamic-int8", "static-int8"]
    weight_bits: Literal[7, 8] = Field(7, description="of weights that meet int8 activations in a graph; 8 need VNNI")
    decoder_weight_bits: Literal[4, 8] = Field(8, description="of the decoder's weights, but for its output layer's")
    # In int8 and for one picture, the convolutions took 186 ms at full size, products of matrices 206, on a Zen 4.
    encoder_product: Literal["convolution", "matmul"] = Field(
        "convolution", description="the operator of the encoder's linear layers in static-int8"
    )
    dynamic_quantization_group: Literal["auto", 0, 32, 64, 128] = Field(
        "auto", description="how many of the decoder's activations share an int8 scale; 0: they stay in float"
    )
    float_below_db: float | None = Field(
        None,
        gt=0,
        le=100,
        description="layers keep more bits whose output is by less than this above the error of the fewer",
    )


class Recipe(_Frozen):
    """What is done to the baseline to make a variant: given smaller pictures, fewer words, patches and layers,
    pruned, equalized, taught again, written for a runtime, quantized for it."""

    side: int | None = Field(None, ge=1, description="of the pictures, in pixels; a multiple of the patches' side")
    vocabulary: Vocabulary | None = None
    tokens: Tokens | None = None
    shorten: float | None = Field(None, gt=0, lt=1, description="the share of the decoder's layers that is left out")
    prune: Prune | None = None
    equalize: bool = Field(False, description="rewrite the model so that it loses less in int8")
    recover: Recover | None = None
    runtime: Literal["pytorch", "onnxruntime", "openvino"] = "pytorch"
    quantize: Quantize | None = None

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        changes = (self.side, self.vocabulary, self.tokens, self.shorten, self.prune, self.quantize)
        if not any(changes) and self.runtime == "pytorch":
            raise ValueError(
                "the recipe is empty: give it side, vocabulary, tokens, shorten, prune, quantize or another runtime"
            )
        if self.recover and not any((self.side, self.tokens, self.shorten, self.prune, self.vocabulary)):
            raise ValueError(
                "recover makes up for side, vocabulary, tokens, shorten or prune: give the recipe one, or leave it out"
            )
        if self.equalize and self.quantize is None:
            raise ValueError("equalize changes nothing in float: give the recipe quantize too, or leave it out")
        if self.quantize and self.quantize.scheme == "static-int8" and self.runtime != "openvino":
            raise ValueError(f"{self.runtime} has no static-int8 here: use dynamic-int8, or runtime openvino")
        if self.tokens and self.quantize and self.quantize.encoder_product == "matmul":
            raise ValueError(
                "tokens merge by products in float, which encoder_product: matmul would make int8: leave one out"
            )
        return self

    @model_validator(mode="after")
    def _check_engine_settings(self) -> Self:
        given = self.quantize.model_fields_set if self.quantize else set()
        if "weight_bits" in given and self.runtime == "pytorch":
            raise ValueError("weight_bits is for onnxruntime and openvino, PyTorch's int8 always has 8: leave it out")
        if "decoder_weight_bits" in given and self.runtime == "pytorch":
            raise ValueError("decoder_weight_bits is for onnxruntime and openvino: leave it out")
        if "dynamic_quantization_group" in given and self.runtime != "openvino":
            raise ValueError(f"dynamic_quantization_group is for openvino, not for {self.runtime}: leave it out")
        static = self.quantize is not None and self.quantize.scheme == "static-int8"
        if "encoder_product" in given and not static:
            raise ValueError("encoder_product is for openvino's static-int8: leave it out, or use that")
        if "weight_bits" in given and self.runtime == "openvino" and not static:
            raise ValueError(
                "weight_bits is for int8 activations, which only static-int8 has on openvino: leave it out"
            )
        return self


class Drafting(_Frozen):
    """What checkpoints guess words from beside the baseline's captions of the calibration pictures."""

    captions: LocalPath | None = Field(None, description="a captions file, or a .txt with a caption in each line")


class Evaluation(_Frozen):
    """How captions are scored."""

    bootstrap_samples: int = Field(ge=100)


class Accept(_Frozen):
    """What a variant must keep to be recommended. A budget that is left out allows everything.

    No sample shows that nothing at all is lost, so the budgets of captions leave some room.
    """

    cider_change_at_least: float | None = Field(
        None, ge=-1, lt=0, description="of the baseline's CIDEr: -0.01 lets a hundredth be lost; not without captions"
    )
    same_caption_at_least: float | None = Field(
        None, gt=0, lt=1, description="share of pictures that keep the baseline's caption, word for word"
    )
    checkpoint_mb_at_most: float | None = Field(None, gt=0, description="on disk")
    memory_mb_at_most: float | None = Field(None, gt=0, description="at its peak, with one picture at a time")
    first_caption_s_at_most: float | None = Field(None, gt=0, description="from the start of the process")


class Benchmark(_Frozen):
    """How long, and how, variants are timed against the baseline."""

    threads: Threads = Field(description="threads of each worker; auto: the physical cores that it may use")
    images: int = Field(ge=1, description="how many pictures take turns")
    sessions: int = Field(ge=2, description="fewest sessions; each starts both timed processes afresh")
    rounds: int = Field(ge=1, description="fewest pairs of captions per session")
    seconds: float = Field(ge=0, description="shortest time of captions per session; of all else it is a quarter")
    new_tokens: int = Field(ge=2, description="caption length where lengths must be equal")
    throughput_batch: int = Field(ge=2)


class Search(_Frozen):
    """How long, and how, `make search` looks for recipes."""

    minutes: float = Field(gt=0, description="the candidate under way is finished")
    first_pictures: int = Field(ge=1, description="what a candidate is tried on before it is built")
    seed: int = Field(ge=0, description="of the candidates")


class TrainingPhase(_Frozen):
    """A part of the demo captioner's training: pictures of one side, a learning rate that rises and falls."""

    side: int = Field(ge=16, le=192, multiple_of=16, description="of the pictures, in pixels")
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="at its highest")


class DemoTraining(_Frozen):
    """How the embedded demo captioner was trained: as BLIP was, on smaller pictures first."""

    phases: list[TrainingPhase] = Field(min_length=1)
    batch_size: int = Field(ge=1)
    seed: int = Field(ge=0)


class Params(_Frozen):
    """All of params.yaml."""

    model: str
    models: dict[Name, Model]
    variants: dict[Name, Recipe]
    decoding: Decoding
    drafting: Drafting
    evaluation: Evaluation
    accept: Accept
    benchmark: Benchmark
    search: Search
    demo_training: DemoTraining

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.model not in self.models:
            raise ValueError(
                f"model is {self.model}, which models does not define: choose one of {', '.join(self.models)}"
            )
        folders = {"baseline": "baseline"}
        for variant in self.variants:
            if (other := folders.setdefault(variant.lower(), variant)) != variant or variant == "baseline":
                raise ValueError(
                    f"variant {variant} would share the folder models/{other}, maybe on other disks only: rename it"
                )
        return self

    def chosen_model(self) -> Model:
        """The entry of `models` that `model` names."""
        return self.models[self.model]

    def recipe(self, variant: str) -> Recipe:
        """A variant's recipe. Raises InputError if there is no such variant."""
        if variant not in self.variants:
            raise InputError(f"params.yaml has no variant {variant}: choose one of {', '.join(self.variants)}")
        return self.variants[variant]


def in_flow_style(value: Any) -> str:
    """A value of a recipe in one line, as params.yaml may have it: `{method: structured, amount: 0.1}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {in_flow_style(own)}" for key, own in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_params(path: Path = PARAMS) -> Params:
    """Reads and checks params.yaml. Raises InputError that names the first wrong value."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise InputError(f"there is no {path} here: run this from the project's top folder") from None
    try:
        return Params.model_validate(parse_yaml(text, path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None


def parse_yaml(text: str, path: Path) -> Any:
    """What a YAML file holds, as DVC reads it: YAML 1.2, by the library that DVC has for it.

    Raises InputError that names the line if the text is not valid, gives a key twice, or has what people may mean
    otherwise, as YAML 1.1 reads it otherwise: `off`, `010` or `1:30`.
    """
    reader = YAML(typ="safe", pure=True)
    try:
        for old, new in _scalars(yaml.compose(text), reader.compose(text)):
            readings = yaml.SafeLoader("").construct_object(old), reader.constructor.construct_object(new)
            if not _alike(*readings):
                raise InputError(
                    f"{path}, line {new.start_mark.line + 1}: {brief(new.value)} is {brief(repr(readings[0]))} in YAML "
                    f"1.1 and {brief(repr(readings[1]))} in YAML 1.2, which DVC reads: write true or false, a decimal "
                    "number without zeros before it, or a text in quotes"
                )
        yaml.safe_load(text)  # fails at what only YAML 1.2 can hold, such as a list as a key
        return reader.load(text)
    except (MarkedYAMLError, yaml.MarkedYAMLError) as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{path} is not valid YAML: {where}{error.problem or error.context}: correct it") from None
    except (
        YAMLError,
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # Both libraries let through whatever Python raises for values such as the date 2026-99-99.
        raise InputError(f"{path} is not valid YAML: {error}: correct it") from None


def _scalars(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """Each scalar node of a text, keys too, as two libraries composed it, in order; once, whatever aliases it has."""
    waiting, seen = [(old, new)], set()
    while waiting:
        old, new = waiting.pop()
        if new is None or id(new) in seen:
            continue
        seen.add(id(new))
        if new.id == "scalar" and new.tag != MERGE:
            yield old, new
        elif new.id == "sequence":
            waiting += zip(reversed(old.value), reversed(new.value), strict=True)
        elif new.id == "mapping":
            pairs = zip(chain(*old.value), chain(*new.value), strict=True)
            waiting += reversed(list(pairs))


def _alike(old: object, new: object) -> bool:
    """Whether two readings are of one kind and value, or are a number such as 1e-05, which is text in YAML 1.1: DVC
    writes numbers so."""
    number = isinstance(old, str) and isinstance(new, float)
    return number or (type(old), str(old)) == (type(new), str(new))
