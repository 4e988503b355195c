"""Outliers in a model of which passes leave less."""

from pathlib import Path

from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.dataset import make_dataset
from stages.optimize import optimize
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.setup.params import Scenes, read_params
from tests.conftest import DEMO, PROJECT
from tests.long.export.test_outliers import download_model
from tests.outliers import KINDS, make_hard


def test_int8_keeps_the_captions_that_a_model_with_outliers_gives_in_float(tmp_path: Path) -> None:
    model = BlipForConditionalGeneration.from_pretrained(DEMO)
    make_hard(model, KINDS, 400, seed=11)
    baseline, recipe = download_model(model, tmp_path), read_params(PROJECT / "params.yaml").recipe("fastest")
    calibration = tmp_path / "calibration"
    make_dataset(Scenes(kind="scenes", evaluation=2, calibration=32), tmp_path / "eval", calibration)
    in_float = recipe.model_copy(update={"quantize": None, "equalize": False})
    for name, own in (("float", in_float), ("int8", recipe)):
        optimize(baseline, own, calibration, tmp_path / name)
    pictures = [draw(compose(seed, "held_out"), seed) for seed in range(100)]
    expected, actual = (
        [captioner.caption([picture], Decoding())[0] for picture in pictures]
        for captioner in map(open_captioner, (tmp_path / "float", tmp_path / "int8"))
    )
    # As many as noise of 30 dB in every layer leaves, 96 %, and of so few pictures three deviations more or less.
    assert sum(map(str.__eq__, expected, actual)) >= 96 - 3 * 2
