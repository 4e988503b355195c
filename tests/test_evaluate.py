import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.captioner.images import open_image
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.dataset import make_dataset
from stages.evaluate import Baseline, evaluate
from stages.optimize import optimize
from stages.records.examples import read_examples
from stages.scenes.composition import read_scenes
from stages.scenes.wording import is_right
from stages.setup.params import Evaluation, Noise, Quantize, Recipe, Scenes
from tests.conftest import Build, with_weights

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
    metrics, table, _ = evaluate(
        tmp_path / "quantized", evaluation, Decoding(), Evaluation(bootstrap_samples=100), BATCH
    )
    images = [open_image(path) for path, _ in read_examples(evaluation)]
    alone = [captioner.caption([image], Decoding())[0] for image in images]
    batches = [captioner.caption(images[first : first + BATCH], Decoding()) for first in range(0, PICTURES, BATCH)]
    together = [text for texts in batches for text in texts]
    assert list(table["caption"]) == alone
    scores = [captioner.caption_with_scores([image])[0].score for image in images]
    assert list(table["score"]) == pytest.approx(scores, abs=1e-4)
    assert alone != together, "this model does not show the difference"
    assert metrics["same_caption_in_batch"] <= sum(map(str.__eq__, alone, together)) / PICTURES < 1
    assert metrics["batch_size"] == BATCH


def test_captions_of_scenes_are_judged_by_what_the_scenes_show(baseline: Path, folders: tuple[Path, Path]) -> None:
    folder, _ = folders
    scenes = read_scenes(folder)
    metrics, table, _ = evaluate(baseline, folder, Decoding(), Evaluation(bootstrap_samples=100), BATCH)
    assert list(table["right"]) == [is_right(said, scene) for said, scene in zip(table["caption"], scenes, strict=True)]
    assert metrics["right"] == table["right"].mean()


def test_nobody_judges_captions_of_pictures_without_a_scene(baseline: Path, tmp_path: Path) -> None:
    make_dataset(Noise(kind="noise", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    settings = Evaluation(bootstrap_samples=100)
    metrics, table, _ = evaluate(baseline, tmp_path / "eval", Decoding(), settings, BATCH)
    assert "right" not in table
    assert "right" not in metrics


def test_a_variant_is_compared_with_the_baseline_under_the_baseline_s_own_words(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    evaluation, calibration = folders
    optimize(baseline, Recipe(quantize=Quantize(scheme="dynamic-int8")), calibration, tmp_path / "quantized")
    settings = Evaluation(bootstrap_samples=100)
    unchanged = open_captioner(baseline).parts
    _, own_table, next_tokens = evaluate(baseline, evaluation, Decoding(), settings, BATCH)
    reference = Baseline(own_table, next_tokens)
    same, _, _ = evaluate(baseline, evaluation, Decoding(), settings, BATCH, reference)
    assert same["same_caption"] == same["same_next_token"] == 1
    assert same["same_caption_ci_low"] == pytest.approx(0.025 ** (1 / PICTURES), abs=1e-6), "eight pictures are few"
    assert ("cider_change_share" in same) == bool(own_table["cider"].any()), "of nothing there are no shares"
    assert 0 <= same["kl"] < 1e-6, "what is kept of the baseline's logits is rounded"
    captioner = open_captioner(tmp_path / "quantized")
    metrics, table, _ = evaluate(tmp_path / "quantized", evaluation, Decoding(), settings, BATCH, reference)
    _, without, _ = evaluate(tmp_path / "quantized", evaluation, Decoding(), settings, BATCH)
    assert list(table["tokens"]) == list(without["tokens"])
    assert 0 < metrics["kl"] == pytest.approx(table["kl"].mean(), abs=1e-6)
    words = [[int(token) for token in row.split()] for row in own_table["tokens"]]
    for (path, _), given, divergence in zip(read_examples(evaluation), words, table["kl"], strict=True):
        pixels = captioner.parts.preprocess([open_image(path)])
        (logits,) = captioner.parts.next_token_logits(captioner.parts.encode(pixels), [given])
        (expected,) = unchanged.next_token_logits(unchanged.encode(pixels), [given])
        assert divergence == pytest.approx(_divergence(expected, logits), abs=1e-5)


@pytest.mark.parametrize("checkpoint", ["quantized", "onnx"])
def test_references_that_a_captioner_can_not_say_are_counted(
    build: Build, checkpoint: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    captioner = open_captioner(build(checkpoint)).parts
    path, _ = read_examples(folders[0])[0]
    said = captioner.detokenize(
        captioner.decode(captioner.encode(captioner.preprocess([open_image(path)])), Decoding())[0]
    )
    accented = unicodedata.normalize("NFD", said.upper().replace("A", "Á"))
    references = [["一只狗", accented], ["一只狗 🏄"], [f"“{said}”", "ein Hund läuft"], ["a man in the Park!"]]
    write_dataset(tmp_path, path, references)
    metrics, table, _ = evaluate(build(checkpoint), tmp_path, Decoding(), Evaluation(bootstrap_samples=100), BATCH)
    assert list(table["exact_match"]) == [1, 0, 1, 0]
    assert metrics["outside_vocabulary"] == 0.25
    write_dataset(tmp_path, path, references[2:])
    metrics, _, _ = evaluate(build(checkpoint), tmp_path, Decoding(), Evaluation(bootstrap_samples=100), BATCH)
    assert "outside_vocabulary" not in metrics


def write_dataset(folder: Path, picture: Path, references: list[list[str]]) -> None:
    """One picture under several names, as the stage `dataset` writes it."""
    (folder / "images").mkdir(exist_ok=True)
    for number in range(len(references)):
        shutil.copyfile(picture, folder / f"images/{number}.png")
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(len(references))]
    captions = [{"image_id": number, "caption": text} for number, own in enumerate(references) for text in own]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}), encoding="utf-8")


def _divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    """Kullback and Leibler's, by its definition, over the positions of one caption."""
    p, q = (np.exp(rows.astype(np.float64)) for rows in (expected, actual))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return float((p * np.log(p / q)).sum(axis=-1).mean())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_what_is_not_finite_gets_no_figures(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path, value: float
) -> None:
    def spoil(model: BlipForConditionalGeneration) -> None:
        model.text_decoder.cls.predictions.transform.LayerNorm.weight.fill_(value)

    spoiled = with_weights(baseline, tmp_path / "spoiled", spoil)
    settings = Evaluation(bootstrap_samples=100)
    _, table, next_tokens = evaluate(baseline, folders[0], Decoding(), settings, BATCH)
    sampled = Decoding(temperature=1)  # which would fail in PyTorch's words
    for arguments in ((spoiled, sampled, None), (spoiled, Decoding(), Baseline(table, next_tokens))):
        with pytest.raises(InputError, match=r"for .*\.png, the checkpoint computes inf or NaN"):
            evaluate(arguments[0], folders[0], arguments[1], settings, BATCH, arguments[2])


@pytest.mark.parametrize("use", ["scored", "calibrated"])
def test_what_is_scored_or_calibrated_with_must_be_whole(
    baseline: Path, folders: tuple[Path, Path], tmp_path: Path, use: str
) -> None:
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in folders]
    picture = read_examples(copies[use == "calibrated"])[1][0]
    picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"{picture.name} is cut off, and [\d.]+ % of it is there: fetch it again"):
        if use == "scored":
            evaluate(baseline, copies[0], Decoding(), Evaluation(bootstrap_samples=100), BATCH)
        else:
            recipe = Recipe(runtime="openvino", quantize=Quantize(scheme="static-int8"))
            optimize(baseline, recipe, copies[1], tmp_path / "made")
