from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.demo.train import train
from stages.download import download
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.scenes.wording import is_right, refer
from stages.scoring.quality import score_per_image
from stages.setup.params import DemoTraining, FolderSource
from tests.conftest import DEMO

HELD_OUT_SCENES = 200


@pytest.fixture(scope="module")
def captions(demo: Path) -> list[str]:
    """Of the first held-out scenes."""
    captioner = open_captioner(demo)
    pictures = [draw(compose(seed, "held_out"), seed) for seed in range(HELD_OUT_SCENES)]
    return [
        caption
        for first in range(0, HELD_OUT_SCENES, 50)
        for caption in captioner.caption(pictures[first : first + 50], Decoding())
    ]


def test_the_demo_describes_most_held_out_scenes_right_and_some_wrong(captions: list[str]) -> None:
    """A captioner without mistakes has none to make more of, and can't tell a cut that costs a little."""
    right = sum(is_right(own, compose(seed, "held_out")) for seed, own in enumerate(captions))
    assert 0.75 * HELD_OUT_SCENES <= right <= 0.95 * HELD_OUT_SCENES


def test_its_cider_is_on_the_scale_of_cocos(captions: list[str]) -> None:
    references = [refer(compose(seed, "held_out"), seed) for seed in range(HELD_OUT_SCENES)]
    assert 1 <= score_per_image(captions, references)["cider"].mean() <= 2.5


def test_the_demo_continues_the_prompt_that_blip_is_known_for(demo: Path) -> None:
    scene = compose(0, "held_out")
    captioner = open_captioner(demo)
    prompted, plain = (captioner.caption([draw(scene, 0)], Decoding(prompt=words)) for words in ("a picture of", ""))
    assert prompted == [f"a picture of {plain[0]}"]


def test_the_committed_demo_is_small_inert_and_has_its_log() -> None:
    weights = DEMO / "model.safetensors"
    assert weights.stat().st_size <= 20_000_000
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    log = pd.read_csv(DEMO / "training_log.csv")
    assert list(log.columns) == ["step", "side", "loss", "held_out_accuracy"]
    assert log["held_out_accuracy"].iloc[-1] >= 0.75


def settings_of(*phases: tuple[int, int], batch_size: int = 4) -> DemoTraining:
    """Phases of a side and so many steps each."""
    return DemoTraining.model_validate(
        {
            "phases": [{"side": side, "steps": steps, "learning_rate": 1e-3} for side, steps in phases],
            "batch_size": batch_size,
            "seed": 1,
        }
    )


def test_training_lowers_the_loss_and_writes_a_model_that_opens(tmp_path: Path) -> None:
    settings = settings_of((32, 8), (48, 4))
    train(settings, tmp_path / "demo", tmp_path / "progress", log_every=4, validation_scenes=4)
    log = pd.read_csv(tmp_path / "demo" / "training_log.csv")
    assert list(log["side"]) == [32, 32, 48]
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    download(FolderSource.model_construct(folder=str(tmp_path / "demo")), tmp_path / "baseline")
    captioner = open_captioner(tmp_path / "baseline")
    assert captioner.caption([draw(compose(0, "training"), 0)], Decoding())
    assert captioner.parts.preprocess([draw(compose(0, "training"), 0)]).shape[-2:] == (48, 48)


def test_phases_may_be_added_but_not_changed_once_they_are_under_way(tmp_path: Path) -> None:
    folders = tmp_path / "demo", tmp_path / "progress"
    train(settings_of((32, 2)), *folders, log_every=2, validation_scenes=2)
    train(settings_of((32, 2), (48, 2)), *folders, log_every=2, validation_scenes=2)
    assert list(pd.read_csv(tmp_path / "demo" / "training_log.csv")["step"]) == [2, 4]
    for other in (settings_of((32, 3), (48, 2)), settings_of((32, 2), (48, 2), batch_size=2)):
        with pytest.raises(InputError, match="other settings"):
            train(other, *folders)
