"""How good captions are: against references that people wrote, and against the unchanged model.

The caption metrics are pycocoevalcap's, the library of the COCO captioning challenge, on lower-case words without
punctuation. CIDEr is on the library's own scale, where papers print a hundred times as much.
"""

import re
from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from scipy.special import log_softmax

from stages.measure.statistics import estimate_mean, estimate_over_images

# How many n-gram lengths BLEU-4 counts.
BLEU_ORDER = 4


def words(caption: str) -> str:
    """A caption's lower-case words, separated by single blanks."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", caption.lower()))


def cider_per_image(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Each caption's CIDEr, float64 (images,), with the document frequencies of these references.

    Source: R. Vedantam et al., CIDEr: Consensus-based Image Description Evaluation, CVPR 2015.
    """
    _, scores = Cider().compute_score(*_as_coco(captions, references))
    return np.asarray(scores, dtype=np.float64)


def rouge_l_per_image(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Each caption's ROUGE-L, float64 (images,), between 0 and 1.

    Source: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004.
    """
    _, scores = Rouge().compute_score(*_as_coco(captions, references))
    return np.asarray(scores, dtype=np.float64)


def exact_matches(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Whether each caption is, word for word, one of its references: float64 (images,) of 0 and 1."""
    matches = [
        words(caption) in {words(reference) for reference in own}
        for caption, own in zip(captions, references, strict=True)
    ]
    return np.asarray(matches, dtype=np.float64)


def bleu_4(captions: Sequence[str], references: Sequence[Sequence[str]], images: np.ndarray) -> float:
    """BLEU-4 of the images with these indices, int64 (any number,), taken together; between 0 and 1.

    Source: K. Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation, ACL 2002.
    """
    return _bleu_of(_bleu_counts(captions, references), images)


def reference_metrics(
    captions: Sequence[str], references: Sequence[Sequence[str]], resamples: int
) -> dict[str, float | int]:
    """CIDEr, BLEU-4, ROUGE-L and exact match with their 95 % intervals over images."""
    cider = estimate_mean(list(cider_per_image(captions, references)), resamples)
    rouge_l = estimate_mean(list(rouge_l_per_image(captions, references)), resamples)
    exact = estimate_mean(list(exact_matches(captions, references)), resamples)
    counts = _bleu_counts(captions, references)
    bleu = estimate_over_images(len(captions), lambda images: _bleu_of(counts, images), resamples)
    return {
        **cider.entries("cider", 4),
        **bleu.entries("bleu_4", 4),
        **rouge_l.entries("rouge_l", 4),
        **exact.entries("exact_match", 4),
    }


def next_token_agreement(logits: np.ndarray, baseline_logits: np.ndarray) -> tuple[float, float]:
    """How alike two models continue the same words.

    Takes two arrays of logits (positions, vocabulary). Returns the share of positions with the same likeliest token,
    and the mean Kullback-Leibler divergence of the model from the baseline, in nats.
    """
    same = float(np.mean(logits.argmax(axis=-1) == baseline_logits.argmax(axis=-1)))
    expected = log_softmax(baseline_logits.astype(np.float64), axis=-1)
    actual = log_softmax(logits.astype(np.float64), axis=-1)
    divergence = np.sum(np.exp(expected) * (expected - actual), axis=-1)
    return same, float(np.mean(divergence))


def _as_coco(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    truth = {image: [words(reference) for reference in own] for image, own in enumerate(references)}
    return truth, {image: [words(caption)] for image, caption in enumerate(captions)}


def _bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """What BLEU adds up over images: (images, 2 * order + 2), namely matches and totals per order, and both lengths."""
    scorer = BleuScorer(n=BLEU_ORDER)
    for caption, own in zip(captions, references, strict=True):
        scorer += (words(caption), [words(reference) for reference in own])
    rows = []
    for counts in scorer.ctest:
        length = counts["testlen"]
        closest = min(counts["reflen"], key=lambda reference: (abs(reference - length), reference))
        rows.append([*counts["correct"], *counts["guess"], length, closest])
    return np.asarray(rows, dtype=np.float64)


def _bleu_of(counts: np.ndarray, images: np.ndarray) -> float:
    totals = counts[images].sum(axis=0)
    matches, guesses = totals[:BLEU_ORDER], totals[BLEU_ORDER : 2 * BLEU_ORDER]
    length, reference_length = totals[-2:]
    if length == 0:
        return 0.0
    precisions = (matches + 1e-15) / (guesses + 1e-9)  # the library's guards against division by zero
    brevity_penalty = min(1.0, float(np.exp(1 - reference_length / length)))
    return brevity_penalty * float(np.exp(np.mean(np.log(precisions))))
