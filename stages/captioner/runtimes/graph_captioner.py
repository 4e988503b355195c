"""A captioner for engines that run an encoder graph and a decoder graph: all that is around the two, without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from ..inspection.configuration import read_configuration
from .bans import banned_tokens, by_length
from .decoding import Decoding, check_room
from .drafts import read_drafts
from .generate import Decoder, Vocabulary, generate
from .preprocessing import preprocess, read_preprocessing
from .scores import ScoredTokens
from .wording import can_say, normalize

# What the decoder takes beside keys and values.
TOKEN_INPUTS = ("tokens", "positions", "parents", "mask")
# How the names of the picture's keys and values begin.
CROSS = "cross_"


def encoder_outputs(layers: int) -> list[str]:
    """The names of the encoder's outputs, which the decoder takes in: keys and values of each decoder layer."""
    return [f"{CROSS}{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def past_inputs(layers: int) -> list[str]:
    """The names under which the decoder takes its own past keys and values."""
    return [f"past_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def decoder_inputs(layers: int) -> list[str]:
    """The names of all that the decoder takes."""
    return [*TOKEN_INPUTS, *encoder_outputs(layers), *past_inputs(layers)]


def decoder_outputs(layers: int) -> list[str]:
    """The names of the logits and of the keys and values that the next step takes as its past."""
    return ["logits", *(f"present_{part}_{layer}" for layer in range(layers) for part in ("key", "value"))]


class Engine(Protocol):
    """What runs the two graphs, see `stages.export.graphs`."""

    def encode(self, pixels: np.ndarray) -> Any:
        """Pixels, float32 (pictures, 3, side, side), to the decoder's cross-attention keys and values."""
        ...

    def start_decoder(self, states: Any, pictures: int, beams: int) -> Decoder:
        """A decoder that has seen these pictures and no token yet. One decoder of an engine is in use at a time."""
        ...


class GraphCaptioner:
    """A captioner's parts, see `runtimes.captioner.Parts`. Pixels: float32 (pictures, 3, side, side); states: the
    number of pictures and what the engine makes of them."""

    def __init__(self, checkpoint: Path, engine: Engine) -> None:
        self.engine = engine
        self.preprocessing = read_preprocessing(checkpoint)
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True  # a prompt is words, whatever their spelling
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        config = read_configuration(checkpoint).text_config
        self.vocabulary = Vocabulary(config.bos_token_id, config.sep_token_id, config.pad_token_id)
        self.positions = config.max_position_embeddings
        self.drafts = read_drafts(checkpoint, config)

    def preprocess(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures to normalized pixels."""
        return preprocess(images, self.preprocessing)

    def encode(self, pixels: np.ndarray) -> tuple[int, Any]:
        """Normalized pixels to cross-attention keys and values."""
        return len(pixels), self.engine.encode(pixels)

    def decode(self, states: tuple[int, Any], decoding: Decoding) -> list[list[int]]:
        """Token ids of one caption per picture. Raises InputError if the caption can't fit the decoder, or if bans
        leave nothing to say."""
        return [caption.tokens for caption in self._decode(states, decoding, scored=False)]

    def decode_with_scores(self, states: tuple[int, Any], decoding: Decoding) -> list[ScoredTokens]:
        """The same captions, and how sure the model is of them."""
        return self._decode(states, decoding, scored=True)

    def _decode(self, states: tuple[int, Any], decoding: Decoding, scored: bool) -> list[ScoredTokens]:
        pictures, engine_states = states
        prompt = self._tokenize(decoding.prompt)
        check_room(decoding, len(prompt), self.positions)
        banned = banned_tokens(decoding, self.tokenizer, self._tokenize, 1 + len(prompt))
        # What pads a step has positions, too, which must not pass the decoder's last.
        guesses = min(decoding.drafts, self.positions - len(prompt) - decoding.max_new_tokens)
        decoding = decoding.model_copy(update={"drafts": guesses})
        decoder = self.engine.start_decoder(engine_states, pictures, decoding.beams)
        vocabulary = self.vocabulary._replace(banned=by_length(banned))
        return generate(decoder, pictures, prompt, decoding, vocabulary, self.drafts, scored)

    def _tokenize(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Token ids to text."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def normalize(self, text: str) -> str:
        """A text in the letters in which captions come."""
        return normalize(self.tokenizer, text)

    def can_say(self, text: str) -> bool:
        """Whether the vocabulary has all words of a text."""
        return can_say(self.tokenizer, text)

    def next_token_logits(self, states: tuple[int, Any], tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Logits under given words, one array (1 + tokens, vocabulary) per picture."""
        pictures, engine_states = states
        decoder = self.engine.start_decoder(engine_states, pictures, beams=1)
        longest = max(map(len, tokens))
        pad = self.vocabulary.pad
        words = np.asarray([[self.vocabulary.begin, *row, *[pad] * (longest - len(row))] for row in tokens])
        # The decoder is causal, so what pads the end of a row can't reach the logits before it.
        logits = decoder.step(words, np.arange(pictures))
        return [row[: 1 + len(given)].copy() for row, given in zip(logits, tokens, strict=True)]
