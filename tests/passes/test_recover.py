import copy
import errno
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.pytorch import load_model
from stages.captioner.runtimes.pytorch_merging import lengths
from stages.passes import apply_recipe, equalize, next_words, recover
from stages.passes.activations import capture_inputs
from stages.passes.recover import Lesson
from stages.setup.params import Recipe, Recover
from tests.conftest import tiny_model
from tests.passes.test_shorten import noise

CUT: dict[str, dict[str, Any]] = {
    "side": {"side": 96},
    "tokens": {"tokens": {"merged": 0.2}},
    "shorten": {"shorten": 0.5},
    "structured": {"prune": {"method": "structured", "amount": 0.08}},
    "zeros": {"prune": {"method": "l1_unstructured", "amount": 0.5}},
}
ALL = {key: own for name, recipe in CUT.items() if name != "zeros" for key, own in recipe.items()}


def teach(cut: dict[str, Any], settings: Recover, state: Path) -> tuple[BlipForConditionalGeneration, dict[str, Any]]:
    """A tiny model that was cut and has learned again, and what is said of that."""
    model, own = tiny_model(1, num_hidden_layers=2), noise(6)
    recipe = Recipe.model_validate(cut)
    pixels = [picture[..., : recipe.side, : recipe.side] if recipe.side else picture for picture in own]
    lesson = Lesson(copy.deepcopy(model), own, [], state)
    records = apply_recipe(model, recipe.model_copy(update={"recover": settings}), pixels, lesson=lesson)
    record: dict[str, Any] = records["recover"]
    return model, record


@pytest.mark.parametrize("part", ["decoder", "model"])
@pytest.mark.parametrize("name", [*CUT, "all"])
def test_what_was_lost_comes_back_in_part_and_what_was_cut_stays_away(name: str, part: str, tmp_path: Path) -> None:
    cut = CUT.get(name, ALL)
    settings = Recover.model_validate({"steps": 8, "part": part, "learning_rate": 1e-3})
    before = tiny_model(1, num_hidden_layers=2)
    pixels = [own[..., : cut.get("side"), : cut.get("side")] for own in noise(6)]
    apply_recipe(before, Recipe.model_validate(cut), pixels)
    equalize.apply(before, capture_inputs(before, pixels))
    model, record = teach(cut, settings, tmp_path / "state.safetensors")
    assert 0 <= record["kl_nats_after"] < record["kl_nats_before"] and not record["undone"]
    assert [step for step, _ in record["losses"]] == list(range(1, 9))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    changed = {
        parameter
        for (parameter, own), other in zip(model.named_parameters(), before.parameters(), strict=True)
        if own.shape != other.shape or not torch.equal(own, other)
    }
    assert changed and all(".layer." in parameter or ".layers." in parameter for parameter in changed)
    assert any(".layers." in parameter for parameter in changed) == (part == "model")
    matrices = [own for own in zip(model.parameters(), before.parameters(), strict=True) if own[0].dim() == 2]
    if name == "zeros":
        assert all(bool((now[then == 0] == 0).all()) for now, then in matrices)
    assert lengths(model.config.vision_config) == lengths(before.config.vision_config)
    assert list(tmp_path.iterdir()) == []


def test_the_same_lesson_teaches_the_same(tmp_path: Path) -> None:
    settings = Recover(steps=3)
    (one, first), (other, second) = (teach(ALL, settings, tmp_path / "state") for _ in range(2))
    assert first == second
    for own, same in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, same, rtol=0, atol=0)


def test_a_teacher_who_is_the_model_itself_has_nothing_to_teach(tmp_path: Path) -> None:
    model = tiny_model(1)
    lesson = Lesson(copy.deepcopy(model), noise(3), [], tmp_path / "state")
    record = recover.apply(model, Recover(steps=1), lesson, noise(3))
    assert record["kl_nats_before"] == record["losses"][0][1] == 0


@pytest.mark.parametrize("rate", [10.0, math.nan])
def test_what_made_words_worse_is_undone(rate: float, tmp_path: Path) -> None:
    model = tiny_model(1)
    lesson = Lesson(copy.deepcopy(model), noise(3), [[7, 8]], tmp_path / "state")
    # So near its teacher that steps of such a length can only lead away.
    model.text_decoder.bert.encoder.layer[0].output.dense.weight.data.mul_(1.01)
    before = copy.deepcopy(model)
    settings = Recover.model_construct(steps=3, part="model", learning_rate=rate, captions=None)
    record = recover.apply(model, settings, lesson, noise(3))
    assert record["undone"] and record["kl_nats_before"] < 0.01 < (record["kl_nats_after"] or math.inf)
    assert all(torch.equal(own, then) for own, then in zip(model.parameters(), before.parameters(), strict=True))
    assert math.isfinite(json.loads(json.dumps(record))["kl_nats_before"])


def test_a_state_of_other_settings_or_a_damaged_one_is_not_gone_on_from(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = Recover(steps=2)
    _, expected = teach(CUT["shorten"], settings, state)
    for content in (b"", b"{}", b"\xff" * 100):
        state.write_bytes(content)
        assert teach(CUT["shorten"], settings, state)[1] == expected


def test_a_state_that_can_not_be_written_ends_with_the_systems_number_as_a_full_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover, "SAVE_AFTER", -1.0)
    (tmp_path / "state.unfinished").mkdir()
    with pytest.raises(OSError) as raised:
        teach(CUT["shorten"], Recover(steps=2), tmp_path / "state.safetensors")
    assert raised.value.errno == errno.EISDIR


@given(pictures=st.integers(1, 50), steps=st.integers(1, 12))
def test_every_picture_is_looked_at_as_often_as_any_other(pictures: int, steps: int) -> None:
    seen = [at for step in range(steps) for at in recover._chosen(step, pictures)]
    counts = [seen.count(picture) for picture in range(pictures)]
    assert len(seen) == steps * recover.BATCH and max(counts) - min(counts) <= 1


@given(steps=st.integers(1, 1000))
def test_the_learning_rate_rises_and_falls_and_is_never_zero(steps: int) -> None:
    rates = [recover._rate(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert 0 < min(rates) <= max(rates) <= 1
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_states_of_merged_patches_are_compared_with_the_same_patches_mean() -> None:
    model, teacher = tiny_model(1), tiny_model(1)
    apply_recipe(model, Recipe.model_validate({"tokens": {"merged": 0.2}}), [])
    pixels = np.concatenate(noise(2))
    with torch.no_grad():
        expected = teacher.vision_model(torch.from_numpy(pixels)).last_hidden_state
        own, strayed = recover._encode_and_compare(model, pixels, expected)
        # Of states that are the same for all patches, means are the same, whatever merges.
        still = expected[:, :1].expand_as(expected)
        _, from_still = recover._encode_and_compare(model, pixels, still)
    assert own.shape[1] == lengths(model.config.vision_config)[-1] < expected.shape[1]
    assert 0 < strayed < 1
    reference = (own - still[:, : own.shape[1]]).square().mean() / still[:, : own.shape[1]].var()
    torch.testing.assert_close(from_still, reference)


def test_texts_are_gone_through_as_often_as_the_teachers_captions(tmp_path: Path, baseline: Path) -> None:
    model = load_model(baseline)
    lesson = Lesson(model, [], [[7, 8], [9]], tmp_path / "state")
    dice = random.Random(0)
    caption = torch.tensor([model.config.text_config.bos_token_id, 5, 6])
    texts = [recover._text(model, lesson, caption, dice).tolist() for _ in range(200)]
    own = [text for text in texts if text == caption.tolist()]
    start, end = model.config.text_config.bos_token_id, model.config.text_config.sep_token_id
    assert 60 < len(own) < 140 and {tuple(text) for text in texts} == {
        tuple(caption.tolist()),
        (start, 7, 8, end),
        (start, 9, end),
    }


def test_a_text_is_no_longer_than_the_decoder(baseline: Path, tmp_path: Path) -> None:
    model = load_model(baseline)
    longest = model.config.text_config.max_position_embeddings
    lesson = Lesson(model, [], [[7] * (3 * longest)], tmp_path / "state")
    start = torch.tensor([model.config.text_config.bos_token_id, 5])
    texts = [recover._text(model, lesson, start, random.Random(seed)) for seed in range(20)]
    with torch.no_grad():
        states = model.vision_model(torch.from_numpy(noise(1)[0])).last_hidden_state
        batch = next_words.to_batch(model, texts, states.expand(len(texts), -1, -1))
        assert batch.tokens.shape[1] == longest and next_words.next_words(model, batch).isfinite().all()


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"recover": {"steps": 5}}, "recipe is empty|recover makes up"),
        ({"recover": {"steps": 5}, "quantize": {"scheme": "dynamic-int8"}}, "recover makes up for side"),
        ({"recover": {"steps": 0}, "shorten": 0.2}, "greater than or equal to 1"),
        ({"recover": {"steps": 5, "learning_rate": 0.5}, "shorten": 0.2}, "less than or equal"),
        ({"recover": {"steps": 5, "part": "encoder"}, "shorten": 0.2}, "decoder"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(recipe: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Recipe.model_validate(recipe)


def test_next_words_are_those_of_each_caption_alone() -> None:
    model = tiny_model(1)
    pixels = torch.from_numpy(np.concatenate(noise(3)))
    with torch.no_grad():
        states = model.vision_model(pixels).last_hidden_state
        start = model.config.text_config.bos_token_id
        captions = [torch.tensor([start, *row]) for row in ([7, 8, 9], [7], [9, 9])]
        together = next_words.next_words(model, next_words.to_batch(model, captions, states))
        alone = [
            next_words.next_words(model, next_words.to_batch(model, [caption], own[None]))
            for caption, own in zip(captions, states, strict=True)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)
    assert len(together) == 3 + 1 + 2
