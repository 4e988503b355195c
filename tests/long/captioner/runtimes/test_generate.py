"""Greedy and beam search against transformers' own `generate`, whatever is asked for."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.captioner.runtimes.decoding import Decoding
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from tests.captioner.runtimes.references import NOISE, RUNTIMES, Exported, reference


@pytest.mark.parametrize("runtime", RUNTIMES)
@given(
    seed=st.integers(0, 1),
    scenes=st.lists(st.integers(0, 50), min_size=1, max_size=3),
    prompt=st.sampled_from(["", "a picture of", "there is a man"]),
    beams=st.sampled_from([1, 1, 2, 3, 5]),
    longest=st.integers(1, 24),
    shortest=st.integers(0, 8),
    length_penalty=st.sampled_from([-1.0, 0.0, 0.7, 1.0, 2.0]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 0.8, 1.7]),
    ngram=st.sampled_from([0, 0, 1, 2, 3]),
    banned=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=2),
    early_stopping=st.booleans(),
)
@settings(max_examples=60)
def test_greedy_and_beam_tokens_and_scores_are_those_of_transformers_generate(
    exported: Exported,
    runtime: str,
    seed: int,
    scenes: list[int],
    prompt: str,
    beams: int,
    longest: int,
    shortest: int,
    length_penalty: float,
    repetition_penalty: float,
    ngram: int,
    banned: list[tuple[int, int]],
    early_stopping: bool,
) -> None:
    """What is banned are pieces of what is said otherwise, each a place and a number of words."""
    pictures = [draw(compose(scene, "training"), scene) for scene in scenes]
    decoding = Decoding(
        prompt=prompt,
        beams=beams,
        max_new_tokens=longest,
        min_new_tokens=min(shortest, longest),
        length_penalty=length_penalty,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram=ngram,
        early_stopping=early_stopping,
    )
    captioner = reference(seed)
    said = captioner.decode(captioner.encode(captioner.preprocess(pictures)), decoding)[0]
    words = [captioner.detokenize(said[place : place + length]) for place, length in banned]
    decoding = Decoding(**decoding.model_dump() | {"banned_words": list(filter(None, words))})
    expected, *with_noise, actual = (
        captioner.decode_with_scores(captioner.encode(captioner.preprocess(pictures)), decoding)
        for captioner in (reference(seed), reference(seed, 0), reference(seed, 1), exported(runtime, seed))
    )
    tokens, *tokens_with_noise = ([caption.tokens for caption in found] for found in (expected, *with_noise))
    assume(tokens_with_noise == [tokens, tokens])  # or two captions are equally likely, and rounding chooses
    assert [caption.tokens for caption in actual] == tokens
    for one, other in zip(actual, expected, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=NOISE)
        assert one.beam_score == (pytest.approx(other.beam_score, rel=1e-3, abs=NOISE) if beams > 1 else None)
