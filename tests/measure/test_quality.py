import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu

from stages.measure.quality import estimate_bleu_4, score_per_image, words

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
    assert estimate_bleu_4(captions, references, 100).value == pytest.approx(expected[3], abs=1e-9)


@given(corpus)
@settings(deadline=None)
def test_scores_stay_within_their_bounds(pairs: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    scores = score_per_image(captions, references)
    cider, rouge = scores["cider"], scores["rouge_l"]
    assert cider.shape == rouge.shape == (len(captions),)
    assert (cider >= 0).all()
    assert (cider <= 10 + 1e-9).all()
    assert (rouge >= 0).all()
    assert (rouge <= 1 + 1e-9).all()


def test_a_reference_beats_a_caption_of_something_else() -> None:
    right, wrong = [own[0] for own in REFERENCES], [REFERENCES[1][0]] * 3
    good, bad = (score_per_image(captions, REFERENCES) for captions in (right, wrong))
    for metric in ("cider", "rouge_l", "exact_match"):
        assert good[metric].mean() > bad[metric].mean()
    assert good["exact_match"].tolist() == [1, 1, 1]
    good_bleu, bad_bleu = (estimate_bleu_4(captions, REFERENCES, 200) for captions in (right, wrong))
    assert good_bleu.value > bad_bleu.value
    assert bad_bleu.low <= bad_bleu.value <= bad_bleu.high


def test_case_and_punctuation_do_not_count() -> None:
    assert words("A man's dog, in the Park!") == "a man's dog in the park"
    captions = [REFERENCES[0][1], "a car", "Dogs in the snow, at night."]
    assert score_per_image(captions, REFERENCES)["exact_match"].tolist() == [1, 0, 1]


def test_an_empty_caption_scores_nothing() -> None:
    captions = ["", "", ""]
    assert all(not scores.any() for scores in score_per_image(captions, REFERENCES).values())
    assert estimate_bleu_4(captions, REFERENCES, 100).value == pytest.approx(0, abs=1e-9)
