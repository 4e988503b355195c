"""The numpy decoding against transformers' own `generate`, on exports of tiny models with random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import chisquare
from transformers import LogitsProcessorList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import Parts
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.generate import sample
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from tests.captioner.runtimes.references import NOISE, RUNTIMES, Exported, reference
from tests.conftest import VOCABULARY

END = 5  # what ends a tiny model's captions


@pytest.mark.parametrize("runtime", ["pytorch", *RUNTIMES])
@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(prompt="a picture of", max_new_tokens=5),
        Decoding(beams=3, length_penalty=0.5),
        Decoding(repetition_penalty=1.7, no_repeat_ngram=1, banned_words=("a", "the"), min_new_tokens=8),
        Decoding(beams=2, prompt="there is", repetition_penalty=1.7, no_repeat_ngram=2),
        Decoding(temperature=1.5, top_k=20, seed=4),
    ],
    ids=lambda decoding: str(decoding.model_dump(exclude_defaults=True)),
)
def test_a_score_is_the_mean_log_probability_of_the_model_s_own(
    runtime: str, decoding: Decoding, exported: Exported
) -> None:
    captioner = reference(0) if runtime == "pytorch" else exported(runtime, 0)
    states = captioner.encode(captioner.preprocess([draw(compose(scene, "training"), scene) for scene in range(4)]))
    scored = captioner.decode_with_scores(states, decoding)
    tokens = [caption.tokens for caption in scored]
    assert captioner.decode(states, decoding) == tokens
    given = len(decoding.prompt.split())
    for caption, logits in zip(scored, captioner.next_token_logits(states, tokens), strict=True):
        ending = [END] if len(caption.tokens) < given + decoding.max_new_tokens else []
        new = [*caption.tokens[given:], *ending]
        probabilities = torch.from_numpy(logits).log_softmax(dim=-1)[given : given + len(new)]
        assert caption.score == pytest.approx(probabilities[range(len(new)), new].mean().item(), abs=NOISE)
        assert caption.score < 0 and (caption.beam_score is None) == (decoding.beams == 1)


def test_without_adjustments_a_beam_s_rank_is_its_score_by_another_length(exported: Exported) -> None:
    captioner, decoding = exported("onnxruntime", 0), Decoding(beams=3, length_penalty=0.5, max_new_tokens=9)
    states = captioner.encode(captioner.preprocess([draw(compose(scene, "training"), scene) for scene in range(4)]))
    for tokens, score, beam_score in captioner.decode_with_scores(states, decoding):
        length = min(len(tokens) + 1, decoding.max_new_tokens)
        assert beam_score == pytest.approx(score * length / length**0.5, rel=1e-5)


PROMPTS = st.one_of(
    st.sampled_from(
        ["", "   ", "[SEP]", "a [PAD] of [SEP] a", "[unused1] [MASK] [CLS]", "日本語 naïve", "a picture of " * 30]
    ),
    st.text(max_size=40),
)


@given(
    prompt=PROMPTS,
    beams=st.sampled_from([1, 1, 2, 64]),
    longest=st.integers(1, 12),
    shortest=st.integers(0, 12),
    length_penalty=st.sampled_from([-1.0, 0.0, 10.0]),
    repetition_penalty=st.sampled_from([0.01, 1.0, 100.0]),
    no_repeat_ngram=st.sampled_from([0, 1, 2, 500]),
    banned_words=st.lists(PROMPTS.filter(lambda text: 0 < len(text.strip()) <= 100), max_size=3),
    temperature=st.sampled_from([0.0, 0.0, 0.01, 1.0, 100.0]),
    top_k=st.sampled_from([0, 1, VOCABULARY * 2, 1_000_000]),
    top_p=st.sampled_from([1e-300, 0.5, 1.0]),
    early_stopping=st.booleans(),
    seed=st.sampled_from([0, 2**32, 2**63 - 1]),
)
@settings(max_examples=20)
def test_whatever_decoding_is_accepted_runs_alike_in_every_runtime(exported: Exported, **given: Any) -> None:
    given["shortest"] = min(given["shortest"], given["longest"])
    lengths = {"max_new_tokens": given.pop("longest"), "min_new_tokens": given.pop("shortest")}
    if given["temperature"] > 0:
        given["beams"] = 1
    else:
        del given["top_k"], given["top_p"]
    decoding = Decoding(**lengths, **given)
    pictures = [draw(compose(scene, "training"), scene) for scene in range(2)]
    found = [
        decoded(captioner, pictures, decoding)
        for captioner in (reference(0), *(exported(name, 0) for name in RUNTIMES))
    ]
    if decoding.temperature == 0 or isinstance(found[0], str):
        with_noise = [decoded(reference(0, noise_seed), pictures, decoding) for noise_seed in (0, 1)]
        assume(with_noise == [found[0], found[0]])  # or two captions are equally likely, and rounding chooses
        assert found[0] == found[1] == found[2]
    else:
        assert all(len(tokens) == len(pictures) for tokens in found)


def decoded(captioner: Parts, pictures: list[Image.Image], decoding: Decoding) -> list[list[int]] | str:
    """The tokens, or the sentence that says why there are none."""
    try:
        return captioner.decode(captioner.encode(captioner.preprocess(pictures)), decoding)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_many_beams_that_see_the_same_give_the_same_logits(runtime: str, at_once: int, exported: Exported) -> None:
    captioner = exported(runtime, 0)
    pictures = [draw(compose(scene, "training"), scene) for scene in range(2)]
    words = np.array([7, 3, 3, 3, 151, 3, 3, 3, 7, 8])

    def logits(beams: int, at_once: int) -> np.ndarray:
        _, states = captioner.encode(captioner.preprocess(pictures))
        decoder = captioner.engine.start_decoder(states, len(pictures), beams)
        rows = np.arange(len(pictures) * beams)
        of_each = np.tile(words, (len(rows), 1))
        parts = (of_each[:, first : first + at_once] for first in range(0, len(words), at_once))
        steps = [decoder.step(part, rows).copy() for part in parts]
        return np.concatenate(steps, axis=1).reshape(len(pictures), beams, len(words), -1)

    alone, together = logits(1, len(words)), logits(64, at_once)
    np.testing.assert_allclose(together, np.broadcast_to(alone, together.shape), atol=NOISE)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_logits_are_those_of_the_exported_model(runtime: str, exported: Exported) -> None:
    pictures = [draw(compose(scene, "training"), scene) for scene in range(3)]
    words = [[7, 8, 9, 10] * 8, [11], [12, 13, 14]]
    expected, actual = (
        captioner.next_token_logits(captioner.encode(captioner.preprocess(pictures)), words)
        for captioner in (reference(0), exported(runtime, 0))
    )
    for own, other, given_words in zip(actual, expected, words, strict=True):
        assert own.shape == other.shape == (1 + len(given_words), other.shape[1])
        np.testing.assert_allclose(own, other, atol=2e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pictures_that_were_encoded_before_others_can_still_be_decoded(runtime: str, exported: Exported) -> None:
    captioner = exported(runtime, 0)
    pictures = [captioner.preprocess([draw(compose(scene, "training"), scene)]) for scene in range(3)]
    at_once = [captioner.decode(captioner.encode(pixels), Decoding()) for pixels in pictures]
    states = [captioner.encode(pixels) for pixels in pictures]
    assert [captioner.decode(own, Decoding()) for own in states] == at_once


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_sampling_repeats_with_its_seed_and_varies_without(runtime: str, exported: Exported) -> None:
    captioner = exported(runtime, 0)
    states = captioner.encode(captioner.preprocess([draw(compose(1, "training"), 1)]))
    drawn = [captioner.decode(states, Decoding(temperature=1.5, top_p=0.95, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.0, 5, 1.0), (1.5, 0, 0.8), (2.0, 12, 0.7)]
)
def test_samples_are_distributed_as_transformers_would_draw_them(temperature: float, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(3).normal(scale=2.0, size=24).astype(np.float32)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(torch.zeros(1, 1, dtype=torch.long), torch.from_numpy(logits)[None])[0].softmax(-1).numpy()
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
    draws = 40_000
    drawn = sample(np.tile(logits, (draws, 1)), decoding, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(logits))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    shares = expected[possible].astype(np.float64)
    assert chisquare(counts[possible], draws * shares / shares.sum()).pvalue > 0.001
