"""An output layer with rows for some tokens only, those that captions use, so that each step reads fewer weights.

Whoever reads logits sees the vocabulary as it was: each token that was dropped has the lowest logit of those kept, so
that it is said after all of them. Which tokens are kept, a checkpoint's tensors say.
"""

from collections.abc import Mapping

import torch
from transformers import BlipForConditionalGeneration

from ..command_line import InputError
from .pytorch_blocks import weight_shape

OUTPUT = "text_decoder.cls.predictions.decoder"
KEPT, LINEAR = f"{OUTPUT}.kept", f"{OUTPUT}.linear"  # tensors of a checkpoint


class FewerTokens(torch.nn.Module):
    """An output layer for kept tokens, int64 (kept,), strictly increasing, of a vocabulary of some size."""

    def __init__(self, linear: torch.nn.Module, kept: torch.Tensor, size: int) -> None:
        super().__init__()
        self.linear = linear
        self.kept = torch.nn.Buffer(kept)
        places = torch.full((size,), len(kept))  # behind the kept tokens' logits lies the lowest of them
        places[kept] = torch.arange(len(kept))
        self.places = torch.nn.Buffer(places, persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States, float32 (..., width), to logits, float32 (..., vocabulary)."""
        logits = self.linear(states)
        lowest = logits.amin(dim=-1, keepdim=True)
        return torch.cat([logits, lowest], dim=-1).index_select(-1, self.places)


def output_rows(model: BlipForConditionalGeneration) -> int:
    """Of how many tokens a model's output layer computes logits."""
    output = model.get_submodule(OUTPUT)
    return len(output.kept) if isinstance(output, FewerTokens) else int(model.config.text_config.vocab_size)


def keep(model: BlipForConditionalGeneration, linear: torch.nn.Linear, kept: torch.Tensor) -> None:
    """Gives a model an output layer whose linear layer has a row for each kept token, in place."""
    model.set_submodule(OUTPUT, FewerTokens(linear, kept, model.config.text_config.vocab_size))
    # It was another name for the bias of the layer that is gone.
    model.text_decoder.cls.predictions.bias = None


def tensors(model: BlipForConditionalGeneration) -> dict[str, torch.Tensor]:
    """What `install` needs beside the weights: which tokens are kept, if not all are."""
    output = model.get_submodule(OUTPUT)
    return {KEPT: output.kept} if isinstance(output, FewerTokens) else {}


def install(model: BlipForConditionalGeneration, state: Mapping[str, torch.Tensor]) -> None:
    """Gives a model on the meta device the output layer that the tensors of a checkpoint are of, in place.

    Raises InputError if they fit neither the vocabulary nor each other.
    """
    kept = state.get(KEPT)
    if kept is None:
        return
    text = model.config.text_config
    if not _in_order(kept, text.vocab_size):
        raise InputError(f"{KEPT} holds no tokens of the vocabulary in increasing order: rebuild it")
    bias = state.get(f"{LINEAR}.bias")
    if weight_shape(state, LINEAR) != (len(kept), text.hidden_size) or bias is None or bias.shape != kept.shape:
        raise InputError(f"the tensors of {LINEAR} don't fit the {len(kept)} tokens that are kept: rebuild it")
    keep(model, torch.nn.Linear(text.hidden_size, len(kept), device="meta"), kept)


def _in_order(kept: torch.Tensor, size: int) -> bool:
    """Whether these are token ids of a vocabulary of this size, strictly increasing."""
    if kept.dtype != torch.int64 or kept.dim() != 1 or not len(kept):
        return False
    return bool(kept[0] >= 0 and kept[-1] < size and (kept[1:] > kept[:-1]).all())
