from pathlib import Path

import pytest

from stages.dataset import make_dataset
from stages.evaluate import evaluate
from stages.examples import read_examples
from stages.images import open_image
from stages.optimize import optimize
from stages.params import Evaluation, Quantize, Recipe, Scenes
from stages.runtimes.captioner import caption, open_captioner
from stages.runtimes.decoding import Decoding

PICTURES, BATCH = 8, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures to evaluate on and to calibrate with."""
    folder = tmp_path_factory.mktemp("data")
    evaluation, calibration = folder / "eval", folder / "calibration"
    make_dataset(Scenes(kind="scenes", evaluation=PICTURES, calibration=2), evaluation, calibration)
    return evaluation, calibration


def test_captions_are_scored_as_pictures_are_captioned_one_by_one(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    evaluation, calibration = folders
    optimize(baseline, Recipe(quantize=Quantize(scheme="dynamic-int8")), calibration, tmp_path / "quantized")
    captioner = open_captioner(tmp_path / "quantized")
    metrics, table = evaluate(captioner, evaluation, Decoding(), Evaluation(bootstrap_samples=100), BATCH)
    images = [open_image(path) for path, _ in read_examples(evaluation)]
    alone = [caption(captioner, [image], Decoding())[0] for image in images]
    batches = [caption(captioner, images[first : first + BATCH], Decoding()) for first in range(0, PICTURES, BATCH)]
    together = [text for texts in batches for text in texts]
    assert list(table["caption"]) == alone
    assert alone != together, "this model does not show the difference"
    assert metrics["same_caption_in_batch"] <= sum(map(str.__eq__, alone, together)) / PICTURES < 1
    assert metrics["batch_size"] == BATCH
