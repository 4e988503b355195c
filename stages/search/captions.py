"""What a candidate's captions lose: on a few pictures before it is built, on all that are searched on afterwards."""

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from stages.captioner.checkpoint import BASELINE
from stages.captioner.images import open_whole
from stages.captioner.runtimes.preprocessing import Preprocessing, preprocess, read_preprocessing
from stages.captioner.runtimes.pytorch import PyTorchCaptioner, open_checkpoint
from stages.evaluate import Baseline, evaluate, read_baseline
from stages.passes import apply_recipe
from stages.passes.prune_structured import Work
from stages.passes.side import resize_to
from stages.records.examples import read_examples
from stages.records.metrics import write_captions
from stages.scoring.next_tokens import agreement, write_next_tokens
from stages.scoring.small_samples import estimate_share
from stages.setup.params import Params, Recipe

CALIBRATED_WITH = 16  # pictures, before a candidate is built: passes take time for each
# A caption's words after the first, and how many multiplications of the encoder take as long as one of a word's, for
# which a weight is read: as on the full-size models of reports/README.md, where it is 20 to 40.
WORDS, WORD_COST = 10, 32


class Unbuilt(NamedTuple):
    """The baseline, opened once, to which recipes are applied, and the pictures that these are tried on."""

    captioner: PyTorchCaptioner
    preprocessing: Preprocessing
    calibration: list[Image.Image]
    pictures: list[Image.Image]
    baseline: Baseline
    work: Work


class FirstLook(NamedTuple):
    """A recipe before it is built, without int8: what a caption takes, as a share of the baseline's, as counted, and
    the same if a weight of 4 bits is read in half the time; the mean KL divergence of the next words, in nats; and how
    many captions stay the same at most, as a share."""

    counted: float
    weighed: float
    kl: float
    same_caption_at_most: float


def caption_baseline(pictures: Path, params: Params, folder: Path) -> Baseline:
    """The baseline's captions of the pictures to search on and what it expects next; kept in a folder, and found there.

    Raises InputError as `evaluate` does.
    """
    table, next_tokens = folder / "baseline.csv", folder / "baseline_next_tokens.npz"
    if not next_tokens.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = evaluate(BASELINE, pictures, params.decoding, params.evaluation, 1)
        write_captions(found.table, table)
        write_next_tokens(found.next_tokens, next_tokens)
    return read_baseline(table, next_tokens)


def open_unbuilt(calibration: Path, pictures: Path, count: int, baseline: Baseline) -> Unbuilt:
    """Opens the baseline, and as many of both folders' pictures as a recipe is first tried on."""
    captioner = open_checkpoint(BASELINE, None)
    to_calibrate = [open_whole(path) for path, _ in read_examples(calibration)[:CALIBRATED_WITH]]
    to_caption = [open_whole(path) for path, _ in read_examples(pictures)[:count]]
    work = Work.of(captioner.model)
    return Unbuilt(captioner, read_preprocessing(BASELINE), to_calibrate, to_caption, baseline, work)


def look(unbuilt: Unbuilt, recipe: Recipe) -> FirstLook:
    """What a recipe's passes cost and bring on a few pictures. Raises InputError if one of them can't be done."""
    model, preprocessing = copy.deepcopy(unbuilt.captioner.model), resize_to(unbuilt.preprocessing, recipe.side)
    calibration = [preprocess([image], preprocessing) for image in unbuilt.calibration]
    # What prepares for int8 changes nothing in float. Nobody learns yet, as that takes longer than all the rest.
    apply_recipe(model, recipe.model_copy(update={"equalize": False, "quantize": None}), calibration)
    captioner = PyTorchCaptioner(model, unbuilt.captioner.tokenizer, unbuilt.captioner.image_processor)
    agreements = [
        _agreement(captioner, preprocess([image], preprocessing), unbuilt.baseline, number)
        for number, image in enumerate(unbuilt.pictures)
    ]
    same, divergences = zip(*agreements, strict=True)
    # A greedy caption stays the same where every next word does.
    unchanged = [float(share == 1) for share in same]
    whole, work = counted_time(unbuilt.work), Work.of(model)
    bits = recipe.quantize.decoder_weight_bits if recipe.quantize else 8
    counted, weighed = counted_time(work) / whole, counted_time(work, bits) / whole
    return FirstLook(counted, weighed, float(np.mean(divergences)), estimate_share(unchanged).high)


def _agreement(captioner: PyTorchCaptioner, pixels: np.ndarray, baseline: Baseline, number: int) -> tuple[float, float]:
    words = [int(token) for token in str(baseline.table["tokens"][number]).split()]
    (logits,) = captioner.next_token_logits(captioner.encode(torch.from_numpy(pixels)), [words])
    return agreement(logits, baseline.next_tokens[number])


def counted_time(work: Work, bits: int = 8) -> float:
    """What a caption takes, in multiplications of the encoder, if the decoder's weights have so many bits."""
    return work.encode + WORDS * work.token * WORD_COST * bits / 8
