from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer, Tokenizer

from stages.captioner.checkpoint import read_manifest, save_weights, seal
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.pytorch import load_model, weights
from stages.captioner.runtimes.pytorch_vocabulary import KEPT, LINEAR, FewerTokens, install
from stages.optimize import optimize
from stages.passes import vocabulary
from stages.passes.vocabulary import needed_tokens
from stages.setup.params import Recipe
from tests.conftest import DEMO, DYNAMIC, VOCABULARY, tiny_model
from tests.passes.test_shorten import noise

TOKENIZER = DEMO / "tokenizer.json"
RECIPE = Recipe.model_validate({"vocabulary": {}})


@given(size=st.integers(2, 12), seed=st.integers(0, 2**31), data=st.data())
def test_kept_tokens_keep_their_logits_and_the_others_come_last(size: int, seed: int, data: st.DataObject) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    dice = torch.Generator().manual_seed(seed)
    linear = torch.nn.Linear(3, len(kept))
    states = torch.randn(2, 4, 3, generator=dice)
    with torch.inference_mode():
        logits, own = FewerTokens(linear, torch.tensor(kept), size)(states), linear(states)
    assert logits.shape == (2, 4, size) and torch.equal(logits[..., kept], own)
    dropped = logits[..., sorted(set(range(size)) - set(kept))]
    assert torch.equal(dropped, own.amin(dim=-1, keepdim=True).expand_as(dropped))


def test_a_vocabulary_of_all_tokens_changes_nothing() -> None:
    model, whole = tiny_model(), tiny_model()
    size = model.config.text_config.vocab_size
    assert vocabulary.apply(model, range(size), noise(2)) == {"tokens_kept": size, "tokens": size}
    pixels, tokens = torch.from_numpy(noise(1)[0]), torch.tensor([[VOCABULARY, 7, 8, 9]])
    with torch.inference_mode():
        own, expected = (one(pixel_values=pixels, input_ids=tokens).logits for one in (model, whole))
    assert torch.equal(own, expected)


def test_what_the_model_says_of_the_calibration_pictures_stays(baseline: Path, calibration: Path) -> None:
    model, whole = load_model(baseline), load_model(baseline)
    pictures = noise(4)
    record = vocabulary.apply(model, [11], pictures)
    kept = model.text_decoder.cls.predictions.decoder.kept.tolist()
    text = model.config.text_config
    assert record == {"tokens_kept": len(kept), "tokens": text.vocab_size} and len(kept) < text.vocab_size / 2
    assert {11, text.bos_token_id, text.sep_token_id, text.pad_token_id} <= set(kept)
    for pixels in pictures:
        (_, own), (_, expected) = (vocabulary.caption(one, pixels) for one in (model, whole))
        assert own.tolist() == expected.tolist()


def test_needed_are_the_tokens_of_captions_and_all_that_spell_others(tmp_path: Path) -> None:
    special, spelling = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), ("a", "n", "##a", "##d", "##n", ",")
    vocabulary = {word: number for number, word in enumerate((*special, *spelling, "an", "cat", "dog", "##nd"))}
    tokenizer = BertWordPieceTokenizer(vocabulary)
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    assert needed_tokens(file, []) == {vocabulary[word] for word in spelling}
    captions = ["A  DÓG,\tan dognd", "dognd dogs"]
    said = {token for caption in captions for token in tokenizer.encode(caption, add_special_tokens=False).ids}
    assert {vocabulary[word] for word in ("[UNK]", "dog", "##nd", "an")} <= said
    assert needed_tokens(file, captions) == needed_tokens(file, []) | said


@pytest.fixture(params=[None, DYNAMIC], ids=["float", "int8"])
def checkpoint(request: pytest.FixtureRequest, baseline: Path, calibration: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "fewer"
    optimize(baseline, RECIPE.model_copy(update={"quantize": request.param}), calibration, folder)
    return folder


def test_a_checkpoint_has_rows_for_the_kept_tokens_and_the_embedding_for_all(checkpoint: Path) -> None:
    model, manifest = load_model(checkpoint), read_manifest(checkpoint)
    kept, text = manifest.passes["vocabulary"]["tokens_kept"], model.config.text_config
    state = weights(model)
    weight = state.get(f"{LINEAR}.weight", state.get(f"{LINEAR}.weight_int8"))
    assert weight is not None and weight.shape == (kept, text.hidden_size) and state[KEPT].shape == (kept,)
    assert (weight.dtype == torch.int8) == ("quantize" in manifest.passes)
    embedding = model.text_decoder.bert.embeddings.word_embeddings.weight
    assert embedding.shape[0] == text.vocab_size
    assert "vocabulary" in (checkpoint / "README.md").read_text()


def test_words_of_a_captions_file_are_kept(
    baseline: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    captions = tmp_path / "data/local/mine.txt"
    captions.parent.mkdir(parents=True)
    captions.write_text("two men on a beach\n")
    recipe = Recipe.model_validate({"vocabulary": {"captions": "data/local/mine.txt"}})
    optimize(baseline, recipe, calibration, tmp_path / "fewer")
    words = Tokenizer.from_file(str(TOKENIZER)).encode("two men on a beach", add_special_tokens=False).ids
    assert set(words) <= set(weights(load_model(tmp_path / "fewer"))[KEPT].tolist())
    captions.write_text("\n")
    with pytest.raises(InputError, match=r"mine\.txt has no captions"):
        optimize(baseline, recipe, calibration, tmp_path / "never")
    captions.unlink()
    with pytest.raises(InputError, match=r"there is no captions file data/local/mine\.txt"):
        optimize(baseline, recipe, calibration, tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (KEPT, lambda kept: kept.flip(0), "no tokens of the vocabulary in increasing order"),
        (KEPT, lambda kept: torch.cat([kept[:1], kept[:-1]]), "in increasing order"),
        (KEPT, lambda kept: kept - 1, "in increasing order"),
        (KEPT, lambda kept: kept + 1, "in increasing order"),
        (KEPT, lambda kept: kept.float(), "in increasing order"),
        (KEPT, lambda kept: kept[None], "in increasing order"),
        (KEPT, lambda kept: kept[0], "in increasing order"),
        (KEPT, lambda kept: kept[:0], "in increasing order"),
        (KEPT, lambda kept: kept[1:], "don't fit the 4 tokens"),
        (f"{LINEAR}.weight", lambda weight: weight[1:], "don't fit the 5 tokens"),
        (f"{LINEAR}.weight", lambda weight: weight[:, 1:], "don't fit the 5 tokens"),
        (f"{LINEAR}.weight", lambda _: None, "don't fit the 5 tokens"),
        (f"{LINEAR}.bias", lambda bias: bias[1:], "don't fit the 5 tokens"),
        (f"{LINEAR}.bias", lambda _: None, "don't fit the 5 tokens"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, change: Any, message: str) -> None:
    with torch.device("meta"):
        model = tiny_model()
    kept = torch.tensor([0, 3, 5, 7, VOCABULARY + 1])
    state = {KEPT: kept, f"{LINEAR}.weight": torch.zeros(5, 32), f"{LINEAR}.bias": torch.zeros(5)}
    install(model, state)
    changed = {**state, name: change(state[name])}
    with pytest.raises(InputError, match=message):
        install(model, {key: tensor for key, tensor in changed.items() if tensor is not None})


def test_a_checkpoint_with_other_tokens_is_refused_when_it_is_opened(checkpoint: Path) -> None:
    state = weights(load_model(checkpoint))
    save_weights(state | {KEPT: state[KEPT].flip(0)}, checkpoint)
    seal(checkpoint, read_manifest(checkpoint))
    with pytest.raises(InputError, match="no tokens of the vocabulary in increasing order: rebuild it"):
        open_captioner(checkpoint)


def test_an_output_layer_of_its_own_is_cut_too() -> None:
    model = tiny_model()
    output = model.text_decoder.cls.predictions
    output.decoder.weight = torch.nn.Parameter(torch.randn(output.decoder.weight.shape))
    output.decoder.bias = torch.nn.Parameter(torch.randn(output.decoder.bias.shape))
    weight, bias = output.decoder.weight.detach().clone(), output.decoder.bias.detach().clone()
    vocabulary.apply(model, [], noise(1))
    kept = output.decoder.kept
    assert torch.equal(output.decoder.linear.weight, weight[kept]) and output.bias is None
    assert torch.equal(output.decoder.linear.bias, bias[kept])
