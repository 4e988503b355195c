from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.demo.train import train
from stages.download import download
from stages.pictures.drawing import draw
from stages.pictures.scenes import compose, describe
from stages.setup.params import DemoTraining, FolderSource
from tests.conftest import DEMO

HELD_OUT_SCENES = 500


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "baseline"
    download(FolderSource.model_construct(folder=str(DEMO)), path)
    return path


def test_the_demo_describes_95_percent_of_500_held_out_scenes(demo: Path) -> None:
    captioner = open_captioner(demo)
    right = 0
    for first in range(0, HELD_OUT_SCENES, 50):
        scenes = [compose(seed, "held_out") for seed in range(first, first + 50)]
        pictures = [draw(scene, seed) for seed, scene in enumerate(scenes, start=first)]
        captions = captioner.caption(pictures, Decoding())
        right += sum(own in describe(scene) for own, scene in zip(captions, scenes, strict=True))
    assert right >= 0.95 * HELD_OUT_SCENES


def test_the_demo_continues_the_prompt_that_blip_is_known_for(demo: Path) -> None:
    scene = compose(0, "held_out")
    (words,) = open_captioner(demo).caption([draw(scene, 0)], Decoding(prompt="a picture of"))
    assert words in describe(scene)


def test_the_committed_demo_is_small_inert_and_has_its_log() -> None:
    weights = DEMO / "model.safetensors"
    assert weights.stat().st_size <= 16_000_000
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    log = pd.read_csv(DEMO / "training_log.csv")
    assert list(log.columns) == ["step", "loss", "held_out_accuracy"]
    assert log["held_out_accuracy"].iloc[-1] >= 0.95


def test_training_lowers_the_loss_and_writes_a_model_that_opens(tmp_path: Path) -> None:
    settings = DemoTraining(cycles=[6, 3], batch_size=4, learning_rate=1e-3, seed=1)
    train(settings, tmp_path / "demo", log_every=3, validation_scenes=4)
    log = pd.read_csv(tmp_path / "demo" / "training_log.csv")
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    download(FolderSource.model_construct(folder=str(tmp_path / "demo")), tmp_path / "baseline")
    assert open_captioner(tmp_path / "baseline").caption([draw(compose(0, "training"), 0)], Decoding())
