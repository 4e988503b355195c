"""DVC stages `evaluate_baseline` and `evaluate@<variant>`: captions the evaluation pictures and scores the captions.

Everything here is deterministic; times are the business of `stages.benchmark`.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import typer
from rich.progress import track
from tokenizers import Tokenizer

from stages.captioner.checkpoint import BASELINE, MODELS, read_manifest
from stages.captioner.command_line import InputError, run
from stages.captioner.inspection.configuration import read_configuration
from stages.captioner.inspection.tokenizer import TOKENIZER
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import count_steps, read_drafts
from stages.captioner.runtimes.wording import can_say, normalize
from stages.records.examples import EVALUATION, read_examples
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, read_captions, write_captions, write_metrics
from stages.records.provenance import KEY, of_quality, of_what
from stages.scenes.composition import read_scenes
from stages.scenes.wording import is_right
from stages.scoring.captioning import Batch, Captioned, Expected, caption_batches, processes_worth_having
from stages.scoring.next_tokens import NextTokens, read_next_tokens, write_next_tokens
from stages.scoring.quality import estimate_bleu_4, score_per_image
from stages.scoring.small_samples import estimate_relative_change, estimate_share
from stages.scoring.statistics import estimate_between, estimate_change, estimate_mean
from stages.setup.params import Evaluation, read_params

# How many pictures tell how often a batch changes captions.
BATCHED = 64
# What the baseline expects next, for the variants to be compared with.
NEXT_TOKENS = Path("data") / "baseline_next_tokens.npz"
Metrics = dict[str, float | int]


class Baseline(NamedTuple):
    """What `evaluate` found out about the unchanged model: its table, and what it expects next at each position of its
    captions, picture by picture."""

    table: pd.DataFrame
    next_tokens: list[NextTokens]


class Evaluated(NamedTuple):
    """A checkpoint's metrics; a table with one row per picture: image, caption, tokens (ids, separated by blanks),
    score (how sure the model is, see `Caption`), if the folder has references cider, rouge_l and exact_match, of drawn
    scenes right, and with a baseline same_caption, same_next_token and kl; and, without a baseline, what the checkpoint
    expects next at each position of its captions."""

    metrics: Metrics
    table: pd.DataFrame
    next_tokens: list[NextTokens]


def evaluate(
    checkpoint: Path,
    folder: Path,
    decoding: Decoding,
    settings: Evaluation,
    batch_size: int,
    baseline: Baseline | None = None,
    processes: int | None = None,
) -> Evaluated:
    """Captions every picture of a dataset folder, scores the captions, and compares them with the baseline's if given.

    Pictures are captioned one by one, as `stages.caption` does: where int8 has one scale for all that a layer takes in,
    the pictures of a batch change each other's captions. How often they do in batches of `batch_size`, of the first
    few dozen pictures, is one of the metrics. So many processes share the pictures, or this one has all of them.

    References are compared in the form in which the captioner says them; `outside_vocabulary` is the share of pictures,
    if there are any, of which it lacks a word for each reference. Raises InputError if a picture can't be opened or is
    cut off, if logits are not finite, or if the checkpoint can't be used.
    """
    examples = read_examples(folder)
    paths, references = [path for path, _ in examples], [own for _, own in examples]
    batches = list(_batches(paths, batch_size, baseline))
    found = caption_batches(checkpoint, batches, decoding, processes)
    captioned = list(chain.from_iterable(track(found, "captioning", len(batches), auto_refresh=False)))
    table = _tabulate(paths, captioned)
    metrics: Metrics = {"images": len(examples), "batch_size": batch_size}
    same_in_batch = [float(own.same_in_batch) for own in captioned if own.same_in_batch is not None]
    metrics |= estimate_share(same_in_batch).entries("same_caption_in_batch", 4)
    if all(references):
        tokenizer = Tokenizer.from_file(str(checkpoint / TOKENIZER))
        metrics |= _score(table, references, partial(normalize, tokenizer), settings)
        metrics |= _outside_vocabulary(references, partial(can_say, tokenizer))
    if scenes := read_scenes(folder):
        table["right"] = [int(is_right(said, scene)) for said, scene in zip(table["caption"], scenes, strict=True)]
        metrics |= estimate_share(table["right"].to_numpy()).entries("right", 4)
    if baseline:
        agreements = [own.agreement for own in captioned if own.agreement]
        metrics |= _compare(table, baseline.table, agreements, settings)
    return Evaluated(metrics, table, [own.next_tokens for own in captioned if own.next_tokens])


def count_guesses(checkpoint: Path, tokens: list[list[int]], decoding: Decoding) -> Metrics:
    """Words per step of a decoder that always checks guesses, and the share of these that are right, of captions that a
    checkpoint gave; nothing where it guesses none, as it does in beam search and sampling, or has nothing to guess by.
    """
    text = read_configuration(checkpoint).text_config
    drafts = read_drafts(checkpoint, text)
    if drafts is None or not decoding.drafts or decoding.beams > 1 or decoding.temperature > 0:
        return {}
    prompt = Tokenizer.from_file(str(checkpoint / TOKENIZER)).encode(decoding.prompt, add_special_tokens=False)
    longest = len(prompt) + decoding.max_new_tokens
    ends = [[text.sep_token_id] if len(row) < longest else [] for row in tokens]
    captions = [[text.bos_token_id, *row, *end] for row, end in zip(tokens, ends, strict=True)]
    counted = count_steps(drafts, captions, 1 + len(prompt), decoding.drafts)
    if not counted.guesses:
        return {}
    right = round(counted.right / counted.guesses, 4)
    return {"words_per_step": round(counted.words / counted.steps, 3), "guesses_right": right}


def read_baseline(table: Path, next_tokens: Path) -> Baseline:
    """Reads what this stage wrote about the baseline. Raises InputError if it has not yet."""
    try:
        return Baseline(read_captions(table), read_next_tokens(next_tokens))
    except FileNotFoundError as error:
        raise InputError(f"there is no {error.filename}: make it with `dvc repro evaluate_baseline`") from None


def _token_ids(table: pd.DataFrame) -> list[list[int]]:
    return [[int(token) for token in row.split()] for row in table["tokens"]]


def _batches(paths: list[Path], batch_size: int, baseline: Baseline | None) -> Iterator[Batch]:
    expected = list(map(Expected, _token_ids(baseline.table), baseline.next_tokens)) if baseline else []
    for first in range(0, len(paths), batch_size):
        some = slice(first, first + batch_size)
        yield Batch(paths[some], expected[some], together=first < BATCHED, next_tokens=True)


def _tabulate(paths: list[Path], captioned: list[Captioned]) -> pd.DataFrame:
    table = pd.DataFrame({"image": [path.name for path in paths], "caption": [own.caption for own in captioned]})
    table["tokens"] = [" ".join(map(str, own.said.tokens)) for own in captioned]
    table["score"] = [round(own.said.score, 4) for own in captioned]
    return table


def _score(
    table: pd.DataFrame, references: list[list[str]], normal: Callable[[str], str], settings: Evaluation
) -> Metrics:
    """Adds the columns cider, rouge_l and exact_match to a table and returns their means, and BLEU-4."""
    captions = list(table["caption"])
    metrics: Metrics = {}
    for metric, scores in score_per_image(captions, references, normal).items():
        table[metric] = scores.round(4)
        binary = metric == "exact_match"
        own = estimate_share(scores) if binary else estimate_mean(scores, settings.bootstrap_samples)
        metrics |= own.entries(metric, 4)
    bleu_4 = estimate_bleu_4(captions, references, settings.bootstrap_samples, normal)
    return metrics | bleu_4.entries("bleu_4", 4)


def _outside_vocabulary(references: list[list[str]], sayable: Callable[[str], bool]) -> Metrics:
    """The share of pictures of which no reference can be said, if there are any: what their scores can't mean."""
    unsayable = [not any(map(sayable, own)) for own in references]
    return {"outside_vocabulary": round(sum(unsayable) / len(unsayable), 4)} if any(unsayable) else {}


def _compare(
    table: pd.DataFrame, baseline_table: pd.DataFrame, agreements: list[tuple[float, float]], settings: Evaluation
) -> Metrics:
    """Adds the columns same_caption, same_next_token and kl to a table and returns their means, and CIDEr's change."""
    table["same_caption"] = (table["caption"] == baseline_table["caption"]).astype(int)
    table["same_next_token"] = [round(same, 4) for same, _ in agreements]
    table["kl"] = [round(divergence, 6) for _, divergence in agreements]
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


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml, or baseline")]) -> None:
    """Writes reports/quality/VARIANT.json, and VARIANT.csv with each picture's caption; of the baseline,
    data/baseline_next_tokens.npz as well, which the variants are compared with."""
    params = read_params()
    manifest = read_manifest(MODELS / variant)
    baseline = None
    if MODELS / variant != BASELINE:
        baseline = read_baseline(REPORTS / "quality" / f"{BASELINE.name}.csv", NEXT_TOKENS)
    metrics, table, next_tokens = evaluate(
        MODELS / variant,
        EVALUATION,
        params.decoding,
        params.evaluation,
        params.benchmark.throughput_batch,
        baseline,
        processes_worth_having(MODELS / variant),
    )
    metrics |= count_guesses(MODELS / variant, _token_ids(table), params.decoding)
    if worst := manifest.worst_int8_layer:
        metrics["worst_int8_layer_db"] = worst[1]
    recovery = manifest.passes.get("recover", {})
    if recovery.get("losses") and not recovery.get("undone"):
        metrics["recover_losses"] = recovery["losses"]
    if not baseline:
        write_next_tokens(next_tokens, NEXT_TOKENS)
    if share := metrics.get("outside_vocabulary"):
        print(
            f"of {share:.1%} of the pictures, every reference has a word that the captioner lacks: "
            "no caption can match one, whatever CIDEr says of them"
        )
    what = of_what(params.model, BASELINE, EVALUATION)
    own = of_quality(params, manifest.recipe, what, describe_machine())
    write_metrics({**metrics, KEY: own.model_dump(exclude_none=True)}, REPORTS / "quality" / f"{variant}.json")
    write_captions(table, REPORTS / "quality" / f"{variant}.csv")


if __name__ == "__main__":
    run(main)
