from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import BertTokenizer, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.blip.processing_blip import BlipProcessor

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import Captioner, open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import PyTorchCaptioner, open_checkpoint
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from tests.conftest import DEMO, tiny_model, tiny_processor


@cache
def tiny_captioner(seed: int) -> PyTorchCaptioner:
    return PyTorchCaptioner(tiny_model(seed), *tiny_processor())


@given(
    model=st.integers(0, 3),
    scenes=st.lists(st.integers(0, 50), min_size=1, max_size=3),
    prompt=st.sampled_from(["", "a picture of", "there is a man"]),
    beams=st.sampled_from([1, 2, 4]),
    longest=st.integers(1, 12),
    shortest=st.integers(0, 6),
    length_penalty=st.sampled_from([0.5, 1.0, 2.0]),
)
@settings(max_examples=40)
def test_greedy_and_beam_captions_are_those_of_transformers_generate(
    model: int, scenes: list[int], prompt: str, beams: int, longest: int, shortest: int, length_penalty: float
) -> None:
    parts = tiny_captioner(model)
    pictures = [draw(compose(seed, "training"), seed) for seed in scenes]
    decoding = Decoding(
        prompt=prompt,
        beams=beams,
        max_new_tokens=longest,
        min_new_tokens=min(shortest, longest),
        length_penalty=length_penalty,
    )
    processor = BlipProcessor(parts.image_processor, parts.tokenizer)
    text = [prompt] * len(pictures) if prompt else None
    expected = parts.model.generate(
        **processor(images=pictures, text=text, return_tensors="pt"),
        max_new_tokens=longest,
        min_new_tokens=min(shortest, longest),
        num_beams=beams,
        length_penalty=length_penalty,
    )
    captions = [words.strip() for words in processor.batch_decode(expected, skip_special_tokens=True)]
    assert Captioner(parts, decoding).caption(pictures) == captions


def test_captions_depend_on_the_picture(baseline: Path, pictures: list[Image.Image]) -> None:
    captions = open_captioner(baseline).caption(pictures, Decoding(max_new_tokens=12))
    assert len(set(captions)) > 1


def test_a_batch_captions_like_its_pictures_alone(baseline: Path, pictures: list[Image.Image]) -> None:
    captioner = open_captioner(baseline)
    decoding = Decoding(max_new_tokens=12, beams=3)
    alone = [captioner.caption([picture], decoding)[0] for picture in pictures]
    assert captioner.caption(pictures, decoding) == alone


def test_exact_lengths_are_kept(baseline: Path, pictures: list[Image.Image]) -> None:
    captioner = open_captioner(baseline).parts
    states = captioner.encode(captioner.preprocess(pictures))
    assert {len(row) for row in captioner.decode(states, Decoding().exactly(7))} == {7}


def test_sampling_repeats_with_its_seed_and_varies_without(baseline: Path, pictures: list[Image.Image]) -> None:
    captioner = open_captioner(baseline)
    sampled = [captioner.caption(pictures, Decoding(temperature=1.5, top_p=0.95, seed=seed)) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]


def test_next_token_logits_are_those_that_greedy_decoding_saw(baseline: Path, pictures: list[Image.Image]) -> None:
    captioner = open_captioner(baseline).parts
    states = captioner.encode(captioner.preprocess(pictures))
    tokens = captioner.decode(states, Decoding(max_new_tokens=9))
    for row, given_logits in zip(tokens, captioner.next_token_logits(states, tokens), strict=True):
        assert given_logits.shape == (len(row) + 1, captioner.config.vocab_size)
        assert given_logits.dtype == np.float32
        assert given_logits.argmax(axis=-1)[: len(row)].tolist() == row


def test_a_caption_too_long_for_the_decoder_is_refused(baseline: Path, pictures: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="has room for 60 behind the prompt"):
        open_captioner(baseline).caption(pictures, Decoding(prompt="a picture of", max_new_tokens=61))


def test_opening_sets_the_number_of_threads(baseline: Path) -> None:
    before = torch.get_num_threads()
    open_captioner(baseline, threads=1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_the_demo_opens_in_transformers_itself(pictures: list[Image.Image]) -> None:
    model = BlipForConditionalGeneration.from_pretrained(DEMO, dtype=torch.float32).eval()
    processor = BlipProcessor(BlipImageProcessorPil.from_pretrained(DEMO), BertTokenizer.from_pretrained(DEMO))
    tokens = model.generate(**processor(images=pictures[:1], return_tensors="pt"), max_new_tokens=20)
    said = processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
    parts = open_checkpoint(DEMO, threads=None)
    (own,) = parts.decode(parts.encode(parts.preprocess(pictures[:1])), Decoding())
    assert said == parts.detokenize(own)
