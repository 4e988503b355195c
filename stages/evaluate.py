"""DVC stages `evaluate_baseline` and `evaluate@<variant>`: captions the evaluation pictures and scores the captions.

Everything here is deterministic; times are the business of `stages.benchmark`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from PIL import Image
from rich.progress import track

from stages.checkpoint import BASELINE, MODELS
from stages.command_line import run
from stages.examples import EVALUATION, read_examples
from stages.images import open_image
from stages.measure.quality import estimate_bleu_4, next_token_agreement, score_per_image
from stages.measure.statistics import estimate_mean
from stages.metrics import REPORTS, write_metrics
from stages.params import Evaluation, read_params
from stages.runtimes.captioner import Captioner, open_captioner
from stages.runtimes.decoding import Decoding

# How many pictures tell how often a batch changes captions.
BATCHED = 64
# In float32 the pictures of a batch don't change each other's logits.
BASELINE_BATCH = 16
Metrics = dict[str, float | int]


def evaluate(
    captioner: Captioner, folder: Path, decoding: Decoding, settings: Evaluation, batch_size: int
) -> tuple[Metrics, pd.DataFrame]:
    """Captions every picture of a dataset folder and scores the captions against the folder's references.

    Pictures are captioned one by one, as `stages.caption` does: where int8 has one scale for all that a layer takes in,
    the pictures of a batch change each other's captions. How often they do in batches of `batch_size`, of the first
    few dozen pictures, is one of the metrics.

    Returns the metrics, and a table with one row per picture: image, caption, tokens (ids, separated by blanks) and, if
    the folder has references, cider, rouge_l and exact_match. Raises InputError if a picture can't be opened.
    """
    examples = read_examples(folder)
    paths, names = [path for path, _ in examples], [path.name for path, _ in examples]
    references = [own for _, own in examples]
    tokens = _decode(captioner, paths, decoding, 1, "captioning")
    captions = [captioner.detokenize(row) for row in tokens]
    in_batches = _decode(captioner, paths[:BATCHED], decoding, batch_size, f"captioning in batches of {batch_size}")
    same_in_batch = [float(alone == together) for alone, together in zip(tokens, in_batches, strict=False)]
    table = pd.DataFrame({"image": names, "caption": captions, "tokens": [" ".join(map(str, row)) for row in tokens]})
    metrics: Metrics = {"images": len(examples), "batch_size": batch_size}
    metrics |= estimate_mean(same_in_batch, settings.bootstrap_samples).entries("same_caption_in_batch", 4)
    if all(references):
        for metric, scores in score_per_image(captions, references).items():
            table[metric] = scores.round(4)
            metrics |= estimate_mean(scores, settings.bootstrap_samples).entries(metric, 4)
        metrics |= estimate_bleu_4(captions, references, settings.bootstrap_samples).entries("bleu_4", 4)
    return metrics, table


def compare(
    captioner: Captioner,
    baseline: Captioner,
    table: pd.DataFrame,
    baseline_table: pd.DataFrame,
    folder: Path,
    settings: Evaluation,
) -> Metrics:
    """How far a variant agrees with the baseline, on tables that `evaluate` made of both.

    Adds the columns same_caption, same_next_token and kl to the variant's table. Both models continue the baseline's
    own words, so one early difference doesn't spoil the rest of a caption.
    """
    words = [[int(token) for token in str(row).split()] for row in baseline_table["tokens"]]
    agreement: list[tuple[float, float]] = []
    paths = [path for path, _ in read_examples(folder)]
    for images in _batches(paths, BASELINE_BATCH, "comparing with the baseline"):
        given = words[len(agreement) : len(agreement) + len(images)]
        expected = baseline.next_token_logits(baseline.encode(baseline.preprocess(images)), given)
        for image, own_words, baseline_logits in zip(images, given, expected, strict=True):
            (logits,) = captioner.next_token_logits(captioner.encode(captioner.preprocess([image])), [own_words])
            agreement.append(next_token_agreement(logits, baseline_logits))
    table["same_caption"] = (table["caption"] == baseline_table["caption"]).astype(int)
    table["same_next_token"] = [round(same, 4) for same, _ in agreement]
    table["kl"] = [round(divergence, 6) for _, divergence in agreement]
    metrics: Metrics = {}
    for column in ("same_caption", "same_next_token", "kl"):
        metrics |= estimate_mean(table[column].to_numpy(), settings.bootstrap_samples).entries(column, 6)
    if "cider" in table:
        change = table["cider"] - baseline_table["cider"]
        metrics |= estimate_mean(change.to_numpy(), settings.bootstrap_samples).entries("cider_change", 4)
    return metrics


def _decode(
    captioner: Captioner, paths: list[Path], decoding: Decoding, batch_size: int, description: str
) -> list[list[int]]:
    return [
        tokens
        for images in _batches(paths, batch_size, description)
        for tokens in captioner.decode(captioner.encode(captioner.preprocess(images)), decoding)
    ]


def _batches(paths: list[Path], batch_size: int, description: str) -> Iterator[list[Image.Image]]:
    for first in track(range(0, len(paths), batch_size), description=description):
        yield [open_image(path) for path in paths[first : first + batch_size]]


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml, or baseline")]) -> None:
    """Writes reports/quality/VARIANT.json, and VARIANT.csv with each picture's caption."""
    params = read_params()
    checkpoint = MODELS / variant
    captioner = open_captioner(checkpoint)
    metrics, table = evaluate(
        captioner, EVALUATION, params.decoding, params.evaluation, params.benchmark.throughput_batch
    )
    if checkpoint != BASELINE:
        baseline = open_captioner(BASELINE)
        text = {"caption": str, "tokens": str}
        baseline_table = pd.read_csv(REPORTS / "quality" / f"{BASELINE.name}.csv", keep_default_na=False, dtype=text)
        metrics |= compare(captioner, baseline, table, baseline_table, EVALUATION, params.evaluation)
    write_metrics(metrics, REPORTS / "quality" / f"{variant}.json")
    table.to_csv(REPORTS / "quality" / f"{variant}.csv", index=False)


if __name__ == "__main__":
    run(main)
