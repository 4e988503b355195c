"""What a model says of pictures, and what it takes for the next word at each place: by this, passes compare models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import generation_config

NEW_TOKENS = 16


class Batch(NamedTuple):
    """Captions to go through at once: token ids, (captions, words), which are said, and the encoder's states."""

    tokens: torch.Tensor
    said: torch.Tensor
    states: torch.Tensor


@torch.no_grad()
def say(model: BlipForConditionalGeneration, states: torch.Tensor) -> list[torch.Tensor]:
    """What a model says of pictures in a few words, by the encoder's states, (pictures, 1 + patches, width).

    Returns each picture's token ids from the first token on, (words,), with the one that ends captions if it came.
    """
    text = model.config.text_config
    rows = model.text_decoder.generate(
        input_ids=torch.full((len(states), 1), text.bos_token_id, device=states.device),
        encoder_hidden_states=states,
        generation_config=generation_config(Decoding(max_new_tokens=NEW_TOKENS), text),
    )
    ends = [row.index(text.sep_token_id) + 1 if text.sep_token_id in row else len(row) for row in rows.tolist()]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


def to_batch(model: BlipForConditionalGeneration, captions: Sequence[torch.Tensor], states: torch.Tensor) -> Batch:
    """Captions, token ids from the first token on, beside the states of each one's picture, (captions, ...)."""
    lengths = torch.tensor([len(own) - 1 for own in captions], device=states.device)  # behind the last nothing is said
    padded = torch.nn.utils.rnn.pad_sequence(
        [own[:-1] for own in captions], batch_first=True, padding_value=model.config.text_config.pad_token_id
    )
    return Batch(padded, torch.arange(padded.shape[1], device=states.device) < lengths[:, None], states)


def next_words(model: BlipForConditionalGeneration, batch: Batch) -> torch.Tensor:
    """Log-probabilities of the next word behind each that is said, (words, vocabulary)."""
    # The decoder is causal, so what pads the end of a row can't reach the words before it.
    output = model.text_decoder(input_ids=batch.tokens, encoder_hidden_states=batch.states, use_cache=False)
    said: torch.Tensor = output.logits[batch.said]
    return said.float().log_softmax(dim=-1)


def divergence(expected: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Mean KL divergence of next words from those expected, in nats; both are log-probabilities."""
    return (expected.exp() * (expected - own)).sum(dim=-1).mean().clamp_min(0)
