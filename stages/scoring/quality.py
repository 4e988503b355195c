"""How good captions are, against references that people wrote.

The caption metrics are pycocoevalcap's, the library of the COCO captioning challenge, on what `words` makes of captions
and references alike. CIDEr is on the library's own scale, where papers print a hundred times as much.
"""

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import regex
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from tokenizers.normalizers import BertNormalizer

from stages.records.estimate import Estimate
from stages.scoring.statistics import estimate_over_images

# How many n-gram lengths BLEU-4 counts.
BLEU_ORDER = 4


# A text in the letters that a captioner can say, as its tokenizer has it: BLIP's leaves out capitals and accents.
Normalize = Callable[[str], str]
BLIP: Normalize = BertNormalizer().normalize_str

APOSTROPHE = regex.compile("[’‘‛ʼ＇`´]")
# What has no sound: marks of direction, joiners, soft hyphens, variants of a letter's look, the stretching of Arabic.
SILENT = regex.compile(r"[\p{Cf}\p{Co}\p{Me}\p{Variation_Selector}\u0640™℠]")
# Captioners write no blanks round an apostrophe, or two, whatever they were trained on: dogs'bowl, man ’ s.
AROUND_APOSTROPHE = regex.compile(r"\s*'\s*")
# In scripts without blanks between words, each letter is one, as for BLIP's tokenizer in Chinese. An apostrophe holds a
# word together (man's, don't, o'clock) or sets one in quotes.
UNSPACED = r"[\p{L}\p{N}&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Line_Break=Complex_Context}]]"
SPACED = rf"(?:[\p{{L}}\p{{N}}--{UNSPACED}]\p{{M}}*)"
WORD = regex.compile(rf"(?V1){UNSPACED}\p{{M}}*|(?:\b[dloy]')?{SPACED}+(?:'(?:s|m|d|ll|re|ve)\b|(?<=n)'t\b)?")


def words(caption: str, normalize: Normalize = BLIP) -> str:
    """A caption's words, separated by single blanks: the one form in which captions and references are compared.

    A text has the same words however it is written: composed or decomposed, wide or narrow, in capitals, with any
    apostrophes, quotes and blanks.
    """
    text = unicodedata.normalize("NFKC", SILENT.sub("", APOSTROPHE.sub("'", caption)))
    folded = unicodedata.normalize("NFKC", normalize(text).casefold())
    # The i of Turkish, whose capitals no program tells from English ones.
    letters = folded.replace("i\u0307", "i").replace("ı", "i")
    return " ".join(WORD.findall(AROUND_APOSTROPHE.sub("'", letters)))


def score_per_image(
    captions: Sequence[str], references: Sequence[Sequence[str]], normalize: Normalize = BLIP
) -> dict[str, np.ndarray]:
    """Each caption's scores against its image's references, float64 (images,) each.

    `cider`: R. Vedantam et al., CIDEr: Consensus-based Image Description Evaluation, CVPR 2015; with the document
    frequencies of these references. `rouge_l`, between 0 and 1: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of
    Summaries, 2004. `exact_match`: 1 if the caption is, word for word, one of the references, else 0.
    """
    truth = {image: [words(reference, normalize) for reference in own] for image, own in enumerate(references)}
    candidates = {image: [words(caption, normalize)] for image, caption in enumerate(captions)}
    _, cider = Cider().compute_score(truth, candidates)
    _, rouge_l = Rouge().compute_score(truth, candidates)
    exact = [candidates[image][0] in filter(None, own) for image, own in truth.items()]
    scores = {"cider": cider, "rouge_l": rouge_l, "exact_match": exact}
    return {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}


def estimate_bleu_4(
    captions: Sequence[str], references: Sequence[Sequence[str]], resamples: int, normalize: Normalize = BLIP
) -> Estimate:
    """BLEU-4 of all captions together, between 0 and 1, with its interval over images.

    Source: K. Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation, ACL 2002.
    """
    counts = _bleu_counts(captions, references, normalize)

    def bleu(images: np.ndarray) -> np.ndarray:
        # One resample at a time, as all of them would take 100 MB for the 5000 pictures of a test split.
        return _bleu_of(np.apply_along_axis(lambda chosen: counts[chosen].sum(axis=0), -1, images))

    return estimate_over_images(len(captions), bleu, resamples)


def _bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]], normalize: Normalize) -> np.ndarray:
    """What BLEU adds up over images: (images, 2 * order + 2), namely matches and totals per order, and both lengths."""
    scorer = BleuScorer(n=BLEU_ORDER)
    for caption, own in zip(captions, references, strict=True):
        scorer += (words(caption, normalize), [words(reference, normalize) for reference in own])
    rows = []
    for counts in scorer.ctest:
        length = counts["testlen"]
        closest = min(counts["reflen"], key=lambda reference: (abs(reference - length), reference))
        rows.append([*counts["correct"], *counts["guess"], length, closest])
    return np.asarray(rows, dtype=np.float64)


def _bleu_of(totals: np.ndarray) -> np.ndarray:
    """BLEU of counts that were added up over images, (..., 2 * order + 2) to (...)."""
    matches, guesses = totals[..., :BLEU_ORDER], totals[..., BLEU_ORDER : 2 * BLEU_ORDER]
    length, reference_length = totals[..., -2], totals[..., -1]
    precisions = (matches + 1e-15) / (guesses + 1e-9)  # the library's guards against division by zero
    brevity_penalty = np.exp(np.minimum(0, 1 - reference_length / np.maximum(length, 1e-9)))
    bleu: np.ndarray = brevity_penalty * np.exp(np.log(precisions).mean(axis=-1))
    return bleu
