"""What zeros cost in captions: the demo's captioner in float32, pruned by three methods in three patterns.

`make sparse` runs it after the kernels. Everything here is deterministic; where the zeros lie decides which kernels can
use them, and `sparse_speed` times those.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track
from transformers import BertTokenizer, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.alternatives.sparse_page import CAPTIONS, Cost, Costs, Zeros, write_page
from stages.captioner.command_line import InputError, run
from stages.captioner.images import open_whole
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import PyTorchCaptioner
from stages.dataset import make_dataset
from stages.passes import prune, prune_sparsegpt, prune_wanda
from stages.passes.activations import capture_moments
from stages.passes.zeros import blocks, lowest, lowest_in_rows, two_of_four
from stages.records.examples import read_examples
from stages.records.metrics import write_metrics
from stages.scoring.next_tokens import NextTokens, agreement, likeliest
from stages.scoring.quality import score_per_image
from stages.scoring.small_samples import estimate_relative_change, estimate_share
from stages.scoring.statistics import estimate_mean
from stages.setup.params import DEMO_FOLDER, Params, Scenes, read_params
from stages.sources.model import load_blip

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
BATCH = 50
RESAMPLES = 1000


class Pruned(NamedTuple):
    """A method, where its zeros lie, what share they are, and what it does to a model, in place."""

    method: str
    zeros: Zeros
    share: float
    do: Callable[[BlipForConditionalGeneration], None]


class Said(NamedTuple):
    """What a model says of each picture: words, tokens, and its logits (positions, vocabulary) behind given tokens."""

    captions: list[str]
    tokens: list[list[int]]
    logits: list[np.ndarray]


def ways(model: BlipForConditionalGeneration, calibration: Sequence[np.ndarray]) -> list[Pruned]:
    """All that are compared; the methods that look at pictures see those for calibration, pixels (1, 3, side, side)."""
    taken = capture_moments(model, calibration)
    l1, wanda = prune.zero, partial(prune_wanda.zero, taken=taken)
    sparsegpt = partial(prune_sparsegpt.zero, taken=taken)
    return [
        *(Pruned("L1", "anywhere", share, partial(l1, choose=partial(lowest, amount=share))) for share in SHARES),
        *(
            Pruned("Wanda", "anywhere", share, partial(wanda, choose=partial(lowest_in_rows, amount=share)))
            for share in SHARES
        ),
        *(
            Pruned("SparseGPT", "anywhere", share, partial(sparsegpt, choose=partial(lowest, amount=share)))
            for share in SHARES
        ),
        Pruned("L1", "2:4", 0.5, partial(l1, choose=two_of_four)),
        Pruned("Wanda", "2:4", 0.5, partial(wanda, choose=two_of_four)),
        Pruned("SparseGPT", "2:4", 0.5, partial(sparsegpt, choose=two_of_four, columns=4)),
        *(Pruned("L1", "blocks", share, partial(l1, choose=partial(blocks, amount=share))) for share in SHARES),
        *(Pruned("Wanda", "blocks", share, partial(wanda, choose=partial(blocks, amount=share))) for share in SHARES),
    ]


def say(captioner: PyTorchCaptioner, pictures: Sequence[Image.Image], given: list[list[int]] | None = None) -> Said:
    """Greedy captions, and the logits behind given tokens, or the captions' own."""
    said = Said([], [], [])
    for first in range(0, len(pictures), BATCH):
        states = captioner.encode(captioner.preprocess(pictures[first : first + BATCH]))
        tokens = captioner.decode(states, Decoding())
        said.tokens.extend(tokens)
        said.captions.extend(map(captioner.detokenize, tokens))
        said.logits.extend(captioner.next_token_logits(states, given[first : first + BATCH] if given else tokens))
    return said


def measure(folder: Path, evaluation: Path, calibration: Path) -> Iterator[Cost]:
    """What each way to prune a captioner costs on the pictures of a dataset folder.

    Raises InputError if the unpruned one has a CIDEr of 0 there.
    """
    model = load_blip(folder).eval().requires_grad_(False)
    tokenizer, processor = BertTokenizer.from_pretrained(folder), BlipImageProcessorPil.from_pretrained(folder)
    examples = read_examples(evaluation)
    pictures, references = [open_whole(path) for path, _ in examples], [own for _, own in examples]
    whole = PyTorchCaptioner(model, tokenizer, processor)
    pixels = [whole.preprocess([open_whole(path)]).numpy() for path, _ in read_examples(calibration)]
    before = say(whole, pictures)
    expected = [likeliest(logits) for logits in before.logits]
    cider = score_per_image(before.captions, references)["cider"]
    if not cider.any():
        raise InputError(f"{folder} says nothing of these pictures that people wrote: take a trained captioner")
    for pruned in track(ways(model, pixels), description="captioning with zeros", auto_refresh=False):
        damaged = copy.deepcopy(model)
        pruned.do(damaged)
        own = say(PyTorchCaptioner(damaged, tokenizer, processor), pictures, before.tokens)
        yield _cost(pruned, own, before, expected, score_per_image(own.captions, references)["cider"], cider)


def _cost(
    pruned: Pruned, own: Said, before: Said, expected: list[NextTokens], scores: np.ndarray, cider: np.ndarray
) -> Cost:
    same = [float(said == other) for said, other in zip(own.captions, before.captions, strict=True)]
    divergences = [agreement(logits, tokens)[1] for logits, tokens in zip(own.logits, expected, strict=True)]
    figures = estimate_relative_change(scores, cider).estimate.entries("cider_change_share", 6)
    figures |= estimate_share(same).entries("same_caption", 6)
    figures |= estimate_mean(divergences, RESAMPLES).entries("kl", 6)
    return Cost(method=pruned.method, zeros=pruned.zeros, share=pruned.share, **figures)


def demo_scenes(params: Params) -> Scenes:
    """The pictures that the demo's checkpoints are judged on. Raises InputError if they are other ones."""
    dataset = params.models["demo"].dataset if "demo" in params.models else None
    if not isinstance(dataset, Scenes):
        raise InputError("params.yaml has no model `demo` with drawn scenes any more: restore it")
    return dataset


def main() -> None:
    """Writes reports/sparse/captions/demo.json and the tables of reports/README.md."""
    scenes = demo_scenes(read_params())
    with TemporaryDirectory() as folder:
        evaluation, calibration = Path(folder, "evaluation"), Path(folder, "calibration")
        make_dataset(scenes, evaluation, calibration)
        costs = Costs(pictures=scenes.evaluation, costs=list(measure(Path(DEMO_FOLDER), evaluation, calibration)))
    write_metrics(costs.model_dump(mode="json"), CAPTIONS)
    write_page()
    print(f"written: {CAPTIONS}")


if __name__ == "__main__":
    run(main)
