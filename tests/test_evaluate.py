import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.captioner.command_line import InputError
from stages.captioner.images import open_image
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.dataset import make_dataset
from stages.evaluate import Baseline, evaluate
from stages.optimize import optimize
from stages.params import Evaluation, Quantize, Recipe, Scenes
from stages.pictures.examples import read_examples

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
    metrics, table = evaluate(captioner.parts, evaluation, Decoding(), Evaluation(bootstrap_samples=100), BATCH)
    images = [open_image(path) for path, _ in read_examples(evaluation)]
    alone = [captioner.caption([image], Decoding())[0] for image in images]
    batches = [captioner.caption(images[first : first + BATCH], Decoding()) for first in range(0, PICTURES, BATCH)]
    together = [text for texts in batches for text in texts]
    assert list(table["caption"]) == alone
    assert alone != together, "this model does not show the difference"
    assert metrics["same_caption_in_batch"] <= sum(map(str.__eq__, alone, together)) / PICTURES < 1
    assert metrics["batch_size"] == BATCH


def test_a_variant_is_compared_with_the_baseline_under_the_baseline_s_own_words(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    evaluation, calibration = folders
    optimize(baseline, Recipe(quantize=Quantize(scheme="dynamic-int8")), calibration, tmp_path / "quantized")
    settings = Evaluation(bootstrap_samples=100)
    unchanged = open_captioner(baseline).parts
    _, own_table = evaluate(unchanged, evaluation, Decoding(), settings, BATCH)
    reference = Baseline(unchanged, own_table)
    same, _ = evaluate(unchanged, evaluation, Decoding(), settings, BATCH, reference)
    assert same["same_caption"] == same["same_next_token"] == 1
    assert same["same_caption_ci_low"] == pytest.approx(0.025 ** (1 / PICTURES), abs=1e-6), "eight pictures are few"
    assert ("cider_change_share" in same) == bool(own_table["cider"].any()), "of nothing there are no shares"
    assert abs(same["kl"]) < 1e-5, "float logits of a picture differ in a batch by rounding alone"
    captioner = open_captioner(tmp_path / "quantized")
    metrics, table = evaluate(captioner.parts, evaluation, Decoding(), settings, BATCH, reference)
    _, without = evaluate(captioner.parts, evaluation, Decoding(), settings, BATCH)
    assert list(table["tokens"]) == list(without["tokens"])
    assert 0 < metrics["kl"] == pytest.approx(table["kl"].mean(), abs=1e-6)
    words = [[int(token) for token in row.split()] for row in own_table["tokens"]]
    for (path, _), given, divergence in zip(read_examples(evaluation), words, table["kl"], strict=True):
        pixels = captioner.parts.preprocess([open_image(path)])
        (logits,) = captioner.parts.next_token_logits(captioner.parts.encode(pixels), [given])
        (expected,) = unchanged.next_token_logits(unchanged.encode(pixels), [given])
        assert divergence == pytest.approx(_divergence(expected, logits), abs=1e-5)


def _divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    """Kullback and Leibler's, by its definition, over the positions of one caption."""
    p, q = (np.exp(rows.astype(np.float64)) for rows in (expected, actual))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return float((p * np.log(p / q)).sum(axis=-1).mean())


@pytest.mark.parametrize("use", ["scored", "calibrated"])
def test_what_is_scored_or_calibrated_with_must_be_whole(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path, use: str
) -> None:
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in folders]
    picture = read_examples(copies[use == "calibrated"])[1][0]
    picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"{picture.name} is cut off, and [\d.]+ % of it is there: fetch it again"):
        if use == "scored":
            evaluate(open_captioner(baseline).parts, copies[0], Decoding(), Evaluation(bootstrap_samples=100), BATCH)
        else:
            recipe = Recipe(runtime="openvino", quantize=Quantize(scheme="static-int8"))
            optimize(baseline, recipe, copies[1], tmp_path / "made")
