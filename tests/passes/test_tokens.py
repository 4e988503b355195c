from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch import load_model
from stages.captioner.runtimes.pytorch_merging import KEY, MergingEncoder, attend, install, lengths, merge, most
from stages.optimize import optimize
from stages.passes import tokens
from stages.setup.params import Recipe, Tokens
from tests.conftest import TINY_SIDE, tiny_model


@given(length=st.integers(3, 12), heads=st.integers(1, 3), seed=st.integers(0, 2**31), data=st.data())
def test_states_that_merge_become_their_mean_and_no_patch_is_lost(
    length: int, heads: int, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, most(length)))
    dice = torch.Generator().manual_seed(seed)
    hidden, keys = torch.randn(2, length, 5, generator=dice), torch.randn(2, heads, length, 4, generator=dice)
    sizes = torch.randint(1, 4, (2, length, 1), generator=dice).float()
    merged, larger = merge(hidden, sizes, keys, count)
    assert larger is not None and merged.shape == (2, length - count, 5) and larger.shape == (2, length - count, 1)
    torch.testing.assert_close(merged[:, 0], hidden[:, 0])
    torch.testing.assert_close(larger.sum(dim=1), sizes.sum(dim=1))
    torch.testing.assert_close((merged * larger).sum(dim=1), (hidden * sizes).sum(dim=1))


@given(length=st.integers(3, 12), seed=st.integers(0, 2**31))
def test_the_pair_most_alike_merges_first(length: int, seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    hidden, keys = torch.randn(1, length, 5, generator=dice), torch.randn(1, 1, length, 8, generator=dice)
    odd = 1 + 2 * int(torch.randint(length // 2, (1,), generator=dice))
    even = 2 + 2 * int(torch.randint((length - 1) // 2, (1,), generator=dice))
    keys[:, :, odd] = 3 * keys[:, :, even]
    merged, sizes = merge(hidden, None, keys, 1)
    assert sizes is not None and float(sizes.max()) == 2
    torch.testing.assert_close(merged[0, int(sizes[0].argmax())], (hidden[0, odd] + hidden[0, even]) / 2)


def test_a_state_is_heeded_as_often_as_the_patches_it_stands_for() -> None:
    query, key, value = torch.randn(3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([1.0, 3, 1, 2])[None, :, None]
    repeated = [states.repeat_interleave(torch.tensor([1, 3, 1, 2]), dim=2) for states in (key, value)]
    torch.testing.assert_close(attend(query, key, value, sizes), attend(query, *repeated, None))


def test_an_encoder_that_merges_nothing_is_the_same() -> None:
    model = tiny_model()
    pixels = torch.randn(2, 3, TINY_SIDE, TINY_SIDE, generator=torch.Generator().manual_seed(0))
    encoder = MergingEncoder(model.vision_model.encoder.layers, [0, 0], 8)
    with torch.inference_mode():
        embeddings = model.vision_model.embeddings(pixels)
        expected = model.vision_model.encoder(inputs_embeds=embeddings).last_hidden_state
        torch.testing.assert_close(encoder(embeddings).last_hidden_state, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("from_layer", "left"), [(1, 10), (2, 13)])
def test_so_many_patches_are_left(
    from_layer: int, left: int, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    recipe = Recipe(tokens=Tokens(merged=0.2, from_layer=from_layer))
    manifest = optimize(baseline, recipe, calibration, tmp_path / "merged")
    assert manifest.passes["tokens"] == {"merged_patches": 16 - left, "patches_left": left}
    model = load_model(tmp_path / "merged")
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, TINY_SIDE, TINY_SIDE), np.float32))
    with torch.inference_mode():
        assert model.vision_model(pixel_values=pixels).last_hidden_state.shape[1] == 1 + left
    assert lengths(model.config.vision_config)[-1] == 1 + left


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (Tokens(merged=0.1, from_layer=3), "the encoder has 2 layers, none of number 3"),
        (Tokens(merged=0.4), "2 layers can't merge 6 of 16 patches each"),
    ],
)
def test_what_can_not_be_merged_is_one_sentence(settings: Tokens, part: str) -> None:
    with pytest.raises(InputError, match=part):
        tokens.apply(tiny_model(), settings)


@pytest.mark.parametrize("merged", [[1], [9, 0], [8, 5], [-1, 0], [0, 0, 0]])
def test_a_configuration_that_asks_for_what_can_not_be_is_refused(merged: list[int]) -> None:
    model = tiny_model()
    setattr(model.config.vision_config, KEY, merged)
    with pytest.raises(InputError, match=r"merged_patches in config\.json"):
        install(model)
