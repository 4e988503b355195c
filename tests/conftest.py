"""Tiny real models and pictures that the tests share."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

# Tests share cores. PyTorch's threads, here and in what tests start, would keep them busy by waiting for each other.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from PIL import Image
from torch.onnx._internal.exporter._registration import ONNXRegistry
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.checkpoint import read_manifest, save_weights, seal
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import load_model, weights
from stages.dataset import make_dataset
from stages.download import download
from stages.draft import bounded, draft
from stages.optimize import optimize
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.setup.params import FolderSource, Prune, Quantize, Recipe, Scenes

# What an example takes hangs on the machine and on who else uses it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

PROJECT = Path(__file__).parents[1]
DEMO = PROJECT / "data" / "demo"
PROCESSOR = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
TINY_SIDE = 128  # of the tiny model's pictures
VOCABULARY = len((DEMO / "vocab.txt").read_text().split())
# Recipes for each runtime, which `build` makes checkpoints of.
PRUNE = Prune(method="l1_unstructured", amount=0.3)
DYNAMIC, STATIC = Quantize(scheme="dynamic-int8"), Quantize(scheme="static-int8")
RECIPES = {
    "quantized": Recipe(quantize=DYNAMIC),
    "onnx": Recipe(runtime="onnxruntime"),
    "onnx_int8": Recipe(runtime="onnxruntime", quantize=DYNAMIC),
    "onnx_pruned_int8": Recipe(runtime="onnxruntime", prune=PRUNE, quantize=DYNAMIC),
    "openvino": Recipe(runtime="openvino"),
    "openvino_int8": Recipe(runtime="openvino", quantize=STATIC),
    "openvino_pruned_dynamic_int8": Recipe(runtime="openvino", prune=PRUNE, quantize=DYNAMIC),
}
Build = Callable[[str], Path]


# Those that run the pipeline, make many checkpoints or use them in many processes take longest: they start first, in
# this order.
SLOWEST = (
    "test_pipeline.py",
    "test_readme.py",
    "test_elsewhere.py",
    "test_queues.py",
    "test_pushes.py",
    "test_stages.py",
    "test_consumers.py",
    "test_outliers.py",
    "test_runtimes.py",
    "test_trials.py",
    "test_download.py",
    "test_optimize.py",
)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, as tests wait much of their time for servers, disks and processes to end."""
    return usable_cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the slowest files first; within a file, order stays.

    There, a slow test comes before quick ones: who has two tests left is given the next file, which waits for them.
    """
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


def tiny_model(seed: int = 0, **text: int) -> BlipForConditionalGeneration:
    """A BLIP with random weights and the demo's vocabulary, small enough to caption in milliseconds."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BlipConfig(
        vision_config={
            **sizes,
            "image_size": TINY_SIDE,
            "patch_size": 32,
            "projection_dim": 32,
            "initializer_range": 0.5,
        },
        text_config={
            **sizes,
            "encoder_hidden_size": 32,
            "vocab_size": VOCABULARY + 2,
            "bos_token_id": VOCABULARY,
            "sep_token_id": 5,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "max_position_embeddings": 64,
            "projection_dim": 32,
            "initializer_range": 0.5,  # wide enough for captions to depend on the picture
            **text,
        },
        projection_dim=32,
        image_text_hidden_size=32,
    )
    return BlipForConditionalGeneration(config).eval()


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Writes a tiny model in transformers' own format."""
    return save_model(tiny_model(seed), folder)


def save_model(model: BlipForConditionalGeneration, folder: Path) -> Path:
    """Writes a model that has the demo's vocabulary in transformers' own format."""
    model.save_pretrained(folder)
    save_processor(folder, model.config.vision_config.image_size)
    return folder


def save_processor(folder: Path, side: int = TINY_SIDE) -> None:
    """Writes the demo's vocabulary and how pictures are prepared, for an encoder of this side."""
    for name in PROCESSOR:
        shutil.copyfile(DEMO / name, folder / name)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"size": {"height": side, "width": side}}))


def tiny_processor() -> tuple[BertTokenizer, BlipImageProcessorPil]:
    """What a tiny model's captioner takes beside the model."""
    size = {"height": TINY_SIDE, "width": TINY_SIDE}
    return BertTokenizer.from_pretrained(DEMO), BlipImageProcessorPil.from_pretrained(DEMO, size=size)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what tests cache out of the developer's own home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _operators_read_once() -> Iterator[None]:
    """Spares an export to ONNX a sixth of its time: for each graph, torch parses all of its operators' sources anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline checkpoint of a tiny model, as `download` makes it. Not to be changed."""
    workspace = tmp_path_factory.mktemp("tiny")
    save_tiny_model(workspace / "data" / "local" / "tiny")
    with contextlib.chdir(workspace):
        download(FolderSource(folder="data/local/tiny"), Path("models/baseline"))
    return workspace / "models" / "baseline"


def with_weights(baseline: Path, folder: Path, change: Callable[[BlipForConditionalGeneration], object]) -> Path:
    """A checkpoint like the baseline, but with other weights."""
    shutil.copytree(baseline, folder)
    model = load_model(baseline)
    with torch.no_grad():
        change(model)
    save_weights(weights(model), folder)
    seal(folder, read_manifest(baseline))
    return folder


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of calibration pictures, as `dataset` makes it. Not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    scenes = Scenes(kind="scenes", evaluation=2, calibration=8)
    make_dataset(scenes, *(folder / name for name in ("eval", "calibration", "search")))
    return folder / "calibration"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run share, for what is made once, by whichever of them comes first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def once(folder: Path, make: Callable[[str, Path], object]) -> Build:
    """Makes what has a name, once per test run, in a folder that all processes share. `make` takes name and target."""
    folder.mkdir(exist_ok=True)

    @cache
    def make_once(name: str) -> Path:
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                make(name, folder / name)
        return folder / name

    return make_once


@pytest.fixture(scope="session")
def build(baseline: Path, calibration: Path, shared: Path) -> Build:
    """Builds a recipe's checkpoint, once per test run. Not to be changed."""
    return once(shared / "exported", lambda name, target: optimize(baseline, RECIPES[name], calibration, target))


@pytest.fixture(scope="session")
def demo(shared: Path) -> Path:
    """The embedded demo's checkpoint, as `download` makes it: a model that is trained. Not to be changed."""
    source = FolderSource.model_construct(folder=str(DEMO))
    return once(shared / "demo", lambda _, target: download(source, target))("baseline")


@pytest.fixture(scope="session")
def drafted(demo: Path, calibration: Path, shared: Path) -> Path:
    """The demo's own captions to guess words from, as `draft` makes them."""

    def make(_: str, target: Path) -> None:
        target.write_bytes(bounded(draft(demo, calibration, Decoding())))

    return once(shared / "drafted", make)("drafts.json")


@pytest.fixture(scope="session")
def build_demo(demo: Path, drafted: Path, calibration: Path, shared: Path) -> Build:
    """Builds a recipe's checkpoint of the demo, with captions to guess from, once per test run. Not to be changed."""

    def make(name: str, target: Path) -> None:
        optimize(demo, RECIPES[name], calibration, target, drafted=drafted)

    return once(shared / "exported_demo", make)


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """A few drawn scenes, RGB, 128 x 128."""
    return [draw(compose(seed, "held_out"), seed) for seed in range(4)]


@pytest.fixture
def picture_files(tmp_path: Path, pictures: list[Image.Image]) -> list[Path]:
    """The same scenes in files."""
    files = [tmp_path / f"{index}.png" for index in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file)
    return files


RunStage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_stage() -> RunStage:
    """Runs `python -m stages.…` as a person would, in some folder, with some environment variables more."""

    def run(
        module: str, *arguments: object, cwd: Path = PROJECT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"stages.{module}", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return run


def assert_one_sentence(process: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """The command failed with exit status 1 and one sentence on stderr that has all the parts."""
    assert process.returncode == 1, process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, process.stderr
    assert "Traceback" not in process.stderr
    for part in parts:
        assert part in lines[0], lines[0]
