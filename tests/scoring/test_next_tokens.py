from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.scoring.next_tokens import (
    LEAST_KEPT,
    OTHERS_AT_MOST,
    agreement,
    likeliest,
    read_next_tokens,
    write_next_tokens,
)

# BLIP's vocabulary, of which a few hundred tokens are kept where a model knows what it is about to say.
VOCABULARY = 30524
# How far apart logits lie: a model that was never trained, and ones more and more sure of themselves.
SPREADS = (0.5, 2.0, 4.0)

logits = st.integers(1, 6).flatmap(
    lambda positions: st.lists(
        st.lists(st.floats(-20, 20), min_size=5, max_size=5), min_size=positions, max_size=positions
    ).map(np.asarray)
)


def divergence(actual: np.ndarray, expected: np.ndarray) -> float:
    """Kullback and Leibler's, by its definition, over all tokens."""
    p, q = (np.exp(rows.astype(np.float64)) for rows in (expected, actual))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return float((p * np.log(p / q)).sum(axis=-1).mean())


@given(logits, st.floats(-5, 5))
def test_a_model_agrees_with_itself_whatever_is_added_to_its_logits(own: np.ndarray, constant: float) -> None:
    same, nats = agreement(own, likeliest(own))
    assert (same, nats) == (1, pytest.approx(0, abs=1e-5))
    assert agreement(own + constant, likeliest(own))[1] == pytest.approx(0, abs=1e-5)


@given(logits, st.integers(0, 10**6))
def test_of_a_small_vocabulary_all_is_kept(own: np.ndarray, seed: int) -> None:
    other = own + np.random.default_rng(seed).normal(size=own.shape)
    same, nats = agreement(other, likeliest(own))
    assert same == np.mean(own.argmax(axis=-1) == other.argmax(axis=-1))
    assert 0 <= nats == pytest.approx(divergence(other, own), abs=1e-5)


def test_divergence_of_known_distributions() -> None:
    baseline, model = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    same, nats = agreement(model, likeliest(baseline))
    assert same == 0
    assert nats == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_what_is_left_out_of_a_large_vocabulary_is_less_than_a_hundredth(spread: float, noise: float) -> None:
    dice = np.random.default_rng(0)
    own = dice.normal(scale=spread, size=(10, VOCABULARY)).astype(np.float32)
    other = own + dice.normal(scale=noise, size=own.shape).astype(np.float32)
    _, nats = agreement(other, likeliest(own))
    whole = divergence(other, own)
    assert 0.99 * whole < nats < whole + 1e-7, "float32 rounds by that much"


def test_of_a_model_that_knows_what_it_says_a_few_hundred_tokens_are_kept() -> None:
    own = np.random.default_rng(0).normal(size=(10, VOCABULARY))
    own[:, 7] += 25
    expected = likeliest(own)
    assert expected.kept.tolist() == [LEAST_KEPT] * 10
    assert set(expected.tokens[::LEAST_KEPT]) == {7}
    assert np.exp(expected.others).max() < OTHERS_AT_MOST


@given(st.lists(logits, min_size=1, max_size=4))
def test_what_was_written_is_read_and_has_the_same_bytes_each_time(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[np.ndarray]
) -> None:
    written = [likeliest(own) for own in pictures]
    first, second = (tmp_path_factory.mktemp("next") / "tokens.npz" for _ in range(2))
    for path in (first, second):
        write_next_tokens(written, path)
    assert first.read_bytes() == second.read_bytes()
    assert list(first.parent.iterdir()) == [first]
    for before, after in zip(written, read_next_tokens(first), strict=True):
        for own, other in zip(before, after, strict=True):
            assert own.dtype == other.dtype
            np.testing.assert_array_equal(own, other)


def test_pictures_of_different_length_are_told_apart(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    logits = [dice.normal(size=(positions, 400)) for positions in (1, 5, 2)]
    write_next_tokens([likeliest(own) for own in logits], tmp_path / "tokens.npz")
    for own, expected in zip(logits, read_next_tokens(tmp_path / "tokens.npz"), strict=True):
        assert agreement(own, expected) == (1, pytest.approx(0, abs=1e-5))
