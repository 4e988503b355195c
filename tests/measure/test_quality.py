import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu

from stages.measure.quality import (
    bleu_4,
    cider_per_image,
    exact_matches,
    next_token_agreement,
    reference_metrics,
    rouge_l_per_image,
    words,
)

REFERENCES = [
    ["a man rides a horse on the beach", "there is a man on a horse at the beach"],
    ["a red car next to a house", "a car parked beside a small house"],
    ["two dogs play in the snow", "dogs in the snow at night"],
]
word = st.sampled_from(["a", "man", "red", "car", "dog", "on", "the", "beach", "snow"])
sentence = st.lists(word, min_size=1, max_size=9).map(" ".join)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=2, max_size=6)


@given(corpus)
@settings(deadline=None)
def test_bleu_4_is_the_librarys(pairs: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    expected, _ = Bleu(4).compute_score(
        dict(enumerate(references)), {image: [caption] for image, caption in enumerate(captions)}, verbose=0
    )
    actual = bleu_4(captions, references, np.arange(len(captions)))
    assert actual == pytest.approx(expected[3], abs=1e-9)


@given(corpus)
@settings(deadline=None)
def test_scores_stay_within_their_bounds(pairs: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    cider, rouge = cider_per_image(captions, references), rouge_l_per_image(captions, references)
    assert cider.shape == rouge.shape == (len(captions),)
    assert (cider >= 0).all()
    assert (cider <= 10 + 1e-9).all()
    assert (rouge >= 0).all()
    assert (rouge <= 1 + 1e-9).all()


def test_a_reference_beats_a_caption_of_something_else() -> None:
    right, wrong = [own[0] for own in REFERENCES], [REFERENCES[1][0]] * 3
    for metric in ("cider", "bleu_4", "rouge_l", "exact_match"):
        good, bad = (reference_metrics(captions, REFERENCES, 200) for captions in (right, wrong))
        assert good[metric] > bad[metric]
        assert good[f"{metric}_ci_low"] <= good[metric] <= good[f"{metric}_ci_high"]
    assert reference_metrics(right, REFERENCES, 200)["exact_match"] == 1


def test_case_and_punctuation_do_not_count() -> None:
    assert words("A man's dog, in the Park!") == "a man's dog in the park"
    assert exact_matches(["Two dogs play in the snow."], [REFERENCES[2]]).tolist() == [1]
    assert exact_matches(["two dogs in the snow"], [REFERENCES[2]]).tolist() == [0]


def test_an_empty_caption_scores_nothing() -> None:
    metrics = reference_metrics(["", "", ""], REFERENCES, 100)
    assert [metrics[name] for name in ("cider", "bleu_4", "rouge_l", "exact_match")] == [0, 0, 0, 0]


logits = st.integers(1, 6).flatmap(
    lambda positions: st.lists(
        st.lists(st.floats(-20, 20), min_size=5, max_size=5), min_size=positions, max_size=positions
    ).map(np.asarray)
)


@given(logits, st.floats(-5, 5))
def test_a_model_agrees_with_itself_whatever_is_added_to_its_logits(own: np.ndarray, constant: float) -> None:
    same, divergence = next_token_agreement(own, own)
    assert (same, divergence) == (1, pytest.approx(0, abs=1e-9))
    assert next_token_agreement(own + constant, own)[1] == pytest.approx(0, abs=1e-6)


@given(logits, st.integers(0, 10**6))
def test_divergence_is_never_negative(own: np.ndarray, seed: int) -> None:
    other = own + np.random.default_rng(seed).normal(size=own.shape)
    assert next_token_agreement(other, own)[1] >= -1e-9


def test_divergence_of_known_distributions() -> None:
    baseline, model = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    same, divergence = next_token_agreement(model, baseline)
    assert same == 0
    assert divergence == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
