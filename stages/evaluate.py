"""DVC stages `evaluate_baseline` and `evaluate@<variant>`: captions the evaluation pictures and scores the captions.

Everything here is deterministic; times are the business of `stages.benchmark`.
"""

import stages.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from PIL import Image
from rich.progress import track

from stages.captioner.checkpoint import BASELINE, MODELS, read_manifest
from stages.captioner.command_line import run
from stages.captioner.images import open_image
from stages.captioner.own_process import open_in_own_process
from stages.captioner.runtimes.captioner import Parts
from stages.captioner.runtimes.decoding import Decoding
from stages.measure.metrics import REPORTS, read_captions, write_metrics
from stages.measure.quality import estimate_bleu_4, next_token_agreement, score_per_image
from stages.measure.small_samples import estimate_relative_change, estimate_share
from stages.measure.statistics import estimate_between, estimate_change, estimate_mean
from stages.params import Evaluation, read_params
from stages.pictures.examples import EVALUATION, read_examples

# How many pictures tell how often a batch changes captions.
BATCHED = 64
# In float32 the pictures of a batch don't change each other's logits.
BASELINE_BATCH = 16
Metrics = dict[str, float | int]


class Baseline(NamedTuple):
    """The unchanged model, and the table that `evaluate` made of it."""

    captioner: Parts
    table: pd.DataFrame


def evaluate(
    captioner: Parts,
    folder: Path,
    decoding: Decoding,
    settings: Evaluation,
    batch_size: int,
    baseline: Baseline | None = None,
) -> tuple[Metrics, pd.DataFrame]:
    """Captions every picture of a dataset folder, scores the captions, and compares them with the baseline's if given.

    Pictures are captioned one by one, as `stages.caption` does: where int8 has one scale for all that a layer takes in,
    the pictures of a batch change each other's captions. How often they do in batches of `batch_size`, of the first
    few dozen pictures, is one of the metrics.

    Returns the metrics, and a table with one row per picture: image, caption, tokens (ids, separated by blanks); if the
    folder has references, cider, rouge_l and exact_match; with a baseline, same_caption, same_next_token and kl. Raises
    InputError if a picture can't be opened.
    """
    examples = read_examples(folder)
    paths, references = [path for path, _ in examples], [own for _, own in examples]
    tokens, logits_agree = _caption_each(captioner, paths, decoding, baseline)
    captions = [captioner.detokenize(row) for row in tokens]
    table = pd.DataFrame({"image": [path.name for path in paths], "caption": captions})
    table["tokens"] = [" ".join(map(str, row)) for row in tokens]
    same_in_batch = _compare_with_batches(captioner, paths[:BATCHED], tokens, decoding, batch_size)
    metrics: Metrics = {"images": len(examples), "batch_size": batch_size}
    metrics |= estimate_share(same_in_batch).entries("same_caption_in_batch", 4)
    if all(references):
        for metric, scores in score_per_image(captions, references).items():
            table[metric] = scores.round(4)
            binary = metric == "exact_match"
            own = estimate_share(scores) if binary else estimate_mean(scores, settings.bootstrap_samples)
            metrics |= own.entries(metric, 4)
        metrics |= estimate_bleu_4(captions, references, settings.bootstrap_samples).entries("bleu_4", 4)
    if baseline:
        metrics |= _agreement(table, baseline.table, logits_agree, settings)
    return metrics, table


def _caption_each(
    captioner: Parts, paths: list[Path], decoding: Decoding, baseline: Baseline | None
) -> tuple[list[list[int]], list[tuple[float, float]]]:
    """Each picture's tokens and, with a baseline, how far both models' next tokens agree.

    For that, both continue the baseline's own words, so one early difference doesn't spoil the rest of a caption.
    """
    tokens: list[list[int]] = []
    agreement: list[tuple[float, float]] = []
    words = [[int(token) for token in row.split()] for row in baseline.table["tokens"]] if baseline else []
    for images in _batches(paths, BASELINE_BATCH, "captioning"):
        given = words[len(tokens) : len(tokens) + len(images)]
        expected: list[np.ndarray] = []
        if baseline:
            states = baseline.captioner.encode(baseline.captioner.preprocess(images))
            expected = baseline.captioner.next_token_logits(states, given)
        for number, image in enumerate(images):
            states = captioner.encode(captioner.preprocess([image]))
            tokens += captioner.decode(states, decoding)
            if baseline:
                (logits,) = captioner.next_token_logits(states, [given[number]])
                agreement.append(next_token_agreement(logits, expected[number]))
    return tokens, agreement


def _compare_with_batches(
    captioner: Parts, paths: list[Path], alone: list[list[int]], decoding: Decoding, batch_size: int
) -> list[float]:
    """For each picture, 1 if it gets the same tokens in a batch as alone, else 0."""
    together = [
        tokens
        for images in _batches(paths, batch_size, f"captioning in batches of {batch_size}")
        for tokens in captioner.decode(captioner.encode(captioner.preprocess(images)), decoding)
    ]
    return [float(own == other) for own, other in zip(alone, together, strict=False)]


def _agreement(
    table: pd.DataFrame, baseline_table: pd.DataFrame, logits_agree: list[tuple[float, float]], settings: Evaluation
) -> Metrics:
    """Adds the columns same_caption, same_next_token and kl to a table and returns their means."""
    table["same_caption"] = (table["caption"] == baseline_table["caption"]).astype(int)
    table["same_next_token"] = [round(same, 4) for same, _ in logits_agree]
    table["kl"] = [round(divergence, 6) for _, divergence in logits_agree]
    metrics: Metrics = {**estimate_share(table["same_caption"].to_numpy()).entries("same_caption", 6)}
    metrics |= estimate_between(table["same_next_token"], 0, 1).entries("same_next_token", 6)
    metrics |= estimate_mean(table["kl"].to_numpy(), settings.bootstrap_samples).entries("kl", 6)
    if "cider" in table:
        metrics |= estimate_change(table["cider"], baseline_table["cider"]).entries("cider_change", 4)
        if baseline_table["cider"].any():
            relative = estimate_relative_change(table["cider"].to_numpy(), baseline_table["cider"].to_numpy())
            metrics |= relative.estimate.entries("cider_change_share", 6)
            metrics["cider_change_share_deviation"] = round(relative.deviation, 6)
    return metrics


def _batches(paths: list[Path], batch_size: int, description: str) -> Iterator[list[Image.Image]]:
    for first in track(range(0, len(paths), batch_size), description=description, auto_refresh=False):
        yield [open_image(path) for path in paths[first : first + batch_size]]


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml, or baseline")]) -> None:
    """Writes reports/quality/VARIANT.json, and VARIANT.csv with each picture's caption."""
    params = read_params()
    baseline = None
    if MODELS / variant != BASELINE:
        own_captions = read_captions(REPORTS / "quality" / f"{BASELINE.name}.csv")
        baseline = Baseline(open_in_own_process(BASELINE).parts, own_captions)
    metrics, table = evaluate(
        open_in_own_process(MODELS / variant).parts,
        EVALUATION,
        params.decoding,
        params.evaluation,
        params.benchmark.throughput_batch,
        baseline,
    )
    if worst := read_manifest(MODELS / variant).worst_int8_layer:
        metrics["worst_int8_layer_db"] = worst[1]
    write_metrics(metrics, REPORTS / "quality" / f"{variant}.json")
    table.to_csv(REPORTS / "quality" / f"{variant}.csv", index=False)


if __name__ == "__main__":
    run(main)
