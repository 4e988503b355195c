"""Runs a checkpoint with PyTorch and transformers, as its users do: eager, with transformers' own `generate`."""

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, GenerationConfig
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from ..checkpoint import WEIGHTS
from ..command_line import InputError
from . import pytorch_blocks, pytorch_int8, pytorch_merging, pytorch_vocabulary
from .bans import banned_tokens
from .decoding import Decoding, check_room
from .drafts import Drafts
from .forks import end_with_python
from .preprocessing import read_preprocessing
from .scores import ScoredTokens
from .wording import can_say, normalize

# `generate` draws from the one generator that all threads share.
ONE_SAMPLES = Lock()
# The process that has opened a checkpoint here first. A fork of it would wait forever for PyTorch's threads.
FIRST_PROCESS: list[int] = []


def _after_fork() -> None:
    """Lets a fork of a process that captions end: PyTorch would join threads there that only its parent has.

    Where the fork can't end without that, PyTorch is asked for threads once more: it notices that it is a fork, forgets
    those, and starts some of its own. That waits forever if a thread of the parent had just asked, as each does before
    it first computes.
    """
    if not end_with_python():
        atexit.register(lambda: torch.set_num_threads(torch.get_num_threads()))


if hasattr(os, "register_at_fork"):  # not on Windows, which forks no processes
    os.register_at_fork(after_in_child=_after_fork)


def weights(model: BlipForConditionalGeneration) -> dict[str, torch.Tensor]:
    """The tensors that a checkpoint stores for a model, float or int8; tied ones once."""
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    state |= pytorch_int8.tensors(model) | pytorch_vocabulary.tensors(model)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def load_model(checkpoint: Path) -> BlipForConditionalGeneration:
    """The model in a checkpoint directory, ready to caption. Raises InputError if tensors are missing."""
    with torch.device("meta"):
        model = BlipForConditionalGeneration(BlipConfig.from_pretrained(checkpoint))
    state = load_file(checkpoint / WEIGHTS)
    pytorch_blocks.fit(model, state)
    pytorch_merging.install(model)
    pytorch_vocabulary.install(model, state)
    model.load_state_dict(state, strict=False, assign=True)
    pytorch_int8.restore(model, state)
    for target, source in model.all_tied_weights_keys.items():
        owner = model.get_submodule(target.rpartition(".")[0])
        if isinstance(owner, torch.nn.Linear):
            setattr(owner, target.rpartition(".")[2], model.get_parameter(source))
    positions = torch.arange(model.config.text_config.max_position_embeddings).expand(1, -1)
    model.text_decoder.bert.embeddings.position_ids = positions
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if missing:
        raise InputError(f"{checkpoint / WEIGHTS} lacks {len(missing)} tensors, {missing[0]} first: rebuild it")
    return model.eval().requires_grad_(False)


class PyTorchCaptioner:
    """A captioner's parts, see `runtimes.captioner.Parts`. Pixels: float32 (batch, 3, side, side); states: float32
    (batch, 1 + patches, width)."""

    drafts: Drafts | None = None

    def __init__(
        self, model: BlipForConditionalGeneration, tokenizer: BertTokenizer, image_processor: BlipImageProcessorPil
    ) -> None:
        self.model, self.tokenizer, self.image_processor = model, tokenizer, image_processor
        self.config = model.config.text_config

    def preprocess(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB pictures to normalized pixels."""
        pixels: torch.Tensor = self.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalized pixels to the encoder's last hidden state."""
        states: torch.Tensor = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return states

    @torch.inference_mode()
    def decode(self, states: torch.Tensor, decoding: Decoding) -> list[list[int]]:
        """Token ids of one caption per row of states. Raises InputError if the caption can't fit the decoder, or if
        bans leave nothing to say."""
        return [self._words_only(row) for row in self._generate(states, decoding).tolist()]

    @torch.inference_mode()
    def decode_with_scores(self, states: torch.Tensor, decoding: Decoding) -> list[ScoredTokens]:
        """The same captions, and how sure the model is of them. All steps' logits are held until the last one."""
        ranked = decoding.beams > 1
        asked = {"return_dict_in_generate": True, "output_logits": True, "output_scores": ranked}
        output = self._generate(states, decoding, **asked)
        beams = output.beam_indices if ranked else None
        log_probabilities = self.model.text_decoder.compute_transition_scores(
            output.sequences, output.logits, beams, normalize_logits=True
        )
        given = output.sequences.shape[1] - log_probabilities.shape[1]
        scored: list[ScoredTokens] = []
        for number, row in enumerate(output.sequences.tolist()):
            tokens = self._words_only(row)
            new = min(len(tokens) + 2, len(row)) - given  # with the token that ends it, if there is one
            score = log_probabilities[number, :new].double().mean().item()
            scored.append(ScoredTokens(tokens, score, output.sequences_scores[number].item() if ranked else None))
        return scored

    def _generate(self, states: torch.Tensor, decoding: Decoding, **asked: bool) -> Any:
        """What transformers' `generate` returns, by what is asked of it."""
        prompt = self._tokenize(decoding.prompt)
        check_room(decoding, len(prompt), self.config.max_position_embeddings)
        banned = banned_tokens(decoding, self.tokenizer.backend_tokenizer, self._tokenize, 1 + len(prompt))
        configuration = generation_config(decoding, self.config, banned)
        configuration.update(**asked)
        with _seeded(decoding):
            return self.model.text_decoder.generate(
                input_ids=torch.tensor([[self.config.bos_token_id, *prompt]]).repeat(len(states), 1),
                encoder_hidden_states=states,
                generation_config=configuration,
            )

    def _tokenize(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Token ids to text."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def normalize(self, text: str) -> str:
        """A text in the letters in which captions come."""
        return normalize(self.tokenizer.backend_tokenizer, text)

    def can_say(self, text: str) -> bool:
        """Whether the vocabulary has all words of a text."""
        return can_say(self.tokenizer.backend_tokenizer, text)

    @torch.inference_mode()
    def next_token_logits(self, states: torch.Tensor, tokens: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Logits under given words, one array (1 + tokens, vocabulary) per row of states."""
        longest = max(map(len, tokens))
        pad = self.config.pad_token_id
        rows = [[self.config.bos_token_id, *row, *[pad] * (longest - len(row))] for row in tokens]
        # The decoder is causal, so what pads the end of a row can't reach the logits before it.
        logits = self.model.text_decoder(input_ids=torch.tensor(rows), encoder_hidden_states=states).logits
        return [row[: 1 + len(given)].numpy() for row, given in zip(logits, tokens, strict=True)]

    def _words_only(self, row: list[int]) -> list[int]:
        ends = row.index(self.config.sep_token_id) if self.config.sep_token_id in row else len(row)
        return row[1:ends]


def open_checkpoint(checkpoint: Path, threads: int | None) -> PyTorchCaptioner:
    """Opens a checkpoint directory whose files have been verified. `threads` are PyTorch's in the whole process.

    Raises InputError in a fork of a process that has opened one.
    """
    FIRST_PROCESS[:] = FIRST_PROCESS or [os.getpid()]
    if [os.getpid()] != FIRST_PROCESS:
        raise InputError(
            "PyTorch has run in the process that this one is a fork of, and can't run in both: open checkpoints after "
            'the fork only, or start processes by multiprocessing\'s method "spawn"'
        )
    if threads is not None:
        torch.set_num_threads(threads)
    read_preprocessing(checkpoint)  # which says what is wrong with it
    return PyTorchCaptioner(
        model=load_model(checkpoint),
        tokenizer=BertTokenizer.from_pretrained(checkpoint),
        image_processor=BlipImageProcessorPil.from_pretrained(checkpoint),
    )


@contextmanager
def _seeded(decoding: Decoding) -> Iterator[None]:
    """Samples from the seed in the block, if at all, and leaves the process's own random numbers as they were."""
    if decoding.temperature == 0:
        yield
        return
    with ONE_SAMPLES, torch.random.fork_rng(devices=[]):
        torch.manual_seed(decoding.seed)
        yield


def generation_config(decoding: Decoding, config: BlipConfig, banned: Sequence[list[int]] = ()) -> GenerationConfig:
    """Decoding in transformers' words, for a text decoder of this configuration; `banned` are the banned words' ids."""
    sampling = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
    return GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        min_new_tokens=decoding.min_new_tokens,
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        early_stopping=decoding.early_stopping,
        repetition_penalty=decoding.repetition_penalty,
        no_repeat_ngram_size=decoding.no_repeat_ngram,
        bad_words_ids=list(banned) or None,
        do_sample=decoding.temperature > 0,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.sep_token_id,
        pad_token_id=config.pad_token_id,
        **(sampling if decoding.temperature > 0 else {}),
    )
