"""Brings a model's image processor and tokenizer into the one form that transformers and the engines read alike."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import BertTokenizer, BlipConfig
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.command_line import InputError, brief, explain
from stages.captioner.runtimes.preprocessing import PREPROCESSOR, Preprocessing, Size, preprocess

TOKENIZER = "tokenizer.json"
# Width and height of pictures that are larger and smaller than the encoder's, longer and wider, and odd.
PROBED_SIZES = ((1, 1), (37, 211), (500, 333), (640, 640))
PROBED_TEXTS = ("", "a picture of", 'A café – naïve, "don\'t" (3.5 kg)!', "unbelievably [SEP] [MASK] 日本 Ελλάδα")


def write_processor(folder: Path, config: BlipConfig, output: Path) -> None:
    """Writes preprocessor_config.json, tokenizer.json and tokenizer_config.json for the model in `folder`.

    Raises InputError if that model prepares pictures, or splits text into tokens, as this project doesn't.
    """
    _write_image_processor(folder, config.vision_config.image_size, output)
    _write_tokenizer(folder, config, output)


def _write_image_processor(folder: Path, side: int, output: Path) -> None:
    remedy = f"correct its {PREPROCESSOR}"
    try:
        theirs = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers checks little, so whatever is wrong comes out as it happens to
        raise InputError(
            f"{folder} has no {PREPROCESSOR}, and no processor_config.json instead, that can be read ({brief(error)}): "
            "fetch the whole model"
        ) from None
    try:
        ours = _explicit(theirs)
    except ValueError as error:
        reason = brief(explain(error) if isinstance(error, ValidationError) else error)
        raise InputError(f"{folder} prepares pictures in another way than BLIP ({reason}): {remedy}") from None
    if ours.size != Size(height=side, width=side):
        raise InputError(
            f"{folder} prepares pictures of {ours.size.width} x {ours.size.height} pixels for an encoder that takes "
            f"{side} x {side}: {remedy}"
        )
    if not all(_same_pixels(theirs, ours, width, height) for width, height in PROBED_SIZES):
        raise InputError(f"{folder} prepares pictures in another way than BLIP (their pixels differ): {remedy}")
    (output / PREPROCESSOR).write_text(_as_json(ours), encoding="utf-8")


def _explicit(theirs: BlipImageProcessorPil) -> Preprocessing:
    """What an image processor does, in numbers alone: steps that it leaves out become those that change nothing."""
    if not theirs.do_resize:
        raise ValueError("do_resize is false")
    if not (theirs.size.height and theirs.size.width):
        raise ValueError("size has no height and width")
    if getattr(theirs, "do_center_crop", False):
        raise ValueError("do_center_crop is true")
    mean, deviation = (theirs.image_mean, theirs.image_std) if theirs.do_normalize else (0.0, 1.0)
    return Preprocessing(
        size=Size(height=theirs.size.height, width=theirs.size.width),
        resample=theirs.resample,
        rescale_factor=theirs.rescale_factor if theirs.do_rescale else 1.0,
        image_mean=tuple(np.broadcast_to(mean, 3).tolist()),
        image_std=tuple(np.broadcast_to(deviation, 3).tolist()),
    )


def _as_json(settings: Preprocessing) -> str:
    names = {"image_processor_type": "BlipImageProcessor", "do_convert_rgb": True}
    return json.dumps(settings.model_dump(mode="json") | names, indent=2, sort_keys=True) + "\n"


def _same_pixels(theirs: BlipImageProcessorPil, ours: Preprocessing, width: int, height: int) -> bool:
    noise = np.random.default_rng(0).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    try:
        expected = np.asarray(theirs(images=[image], return_tensors="np")["pixel_values"], dtype=np.float32)
    except Exception:
        return False
    actual = preprocess([image], ours)
    return actual.shape == expected.shape and np.allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def _write_tokenizer(folder: Path, config: BlipConfig, output: Path) -> None:
    if not any((folder / name).is_file() for name in (TOKENIZER, "vocab.txt")):
        raise InputError(f"{folder} has neither {TOKENIZER} nor vocab.txt: fetch the whole model")
    try:
        theirs = BertTokenizer.from_pretrained(folder, local_files_only=True)
        theirs.backend_tokenizer.no_truncation()
        theirs.backend_tokenizer.no_padding()
        theirs.save_pretrained(output)
        engines = Tokenizer.from_file(str(output / TOKENIZER))
    except Exception as error:  # as above
        raise InputError(f"{folder} has no tokenizer that can be read ({brief(error)}): correct it") from None
    _check_ids(folder, theirs, config)
    for text in PROBED_TEXTS:
        if not _same_tokens(
            text, [config.text_config.sep_token_id, config.text_config.vocab_size - 1], theirs, engines
        ):
            raise InputError(f"{folder} has a tokenizer that is not BERT's, as {text!r} shows: choose another model")


def _check_ids(folder: Path, tokenizer: BertTokenizer, config: BlipConfig) -> None:
    words = config.text_config.vocab_size
    if (largest := max(tokenizer.get_vocab().values())) >= words:
        raise InputError(f"{folder} has a token with id {largest}, and a model of only {words} tokens: correct either")
    for name in ("bos_token_id", "sep_token_id", "pad_token_id"):
        number = getattr(config.text_config, name)
        if not isinstance(number, int) or not 0 <= number < words:
            found = f"{name} is {brief(number)} in {folder}/config.json"
            raise InputError(f"{found}, and the model's tokens are 0 to {words - 1}: correct it")


def _same_tokens(text: str, ending: list[int], theirs: BertTokenizer, engines: Tokenizer) -> bool:
    tokens: list[int] = theirs(text, add_special_tokens=False)["input_ids"]
    if engines.encode(text, add_special_tokens=False).ids != tokens:
        return False
    words, engines_words = (one.decode([*tokens, *ending], skip_special_tokens=True) for one in (theirs, engines))
    return bool(words.strip() == engines_words.strip())
