"""What the linear layers of a model take in on calibration pictures: the ground for every decision about int8."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.passes.next_words import say

# More pictures would find hardly wider ranges and take longer.
PICTURES = 8
# Enough of a picture's rows, evenly spaced, to tell how an error is spread.
ROWS = 128


class Inputs(NamedTuple):
    """What a linear layer took in: some rows, float32 (rows, channels), and each channel's range over all of them."""

    rows: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


@torch.inference_mode()
def capture_inputs(model: BlipForConditionalGeneration, calibration: Sequence[np.ndarray]) -> dict[str, Inputs]:
    """The inputs of every linear layer by its name, while the model captions the first calibration pictures.

    `calibration` is pixels, float32 (1, 3, side, side) each. Raises InputError if a layer takes in or gives inf or NaN.
    """
    seen: dict[str, list[Inputs]] = {}
    with ExitStack() as hooks:
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Linear):
                hooks.enter_context(layer.register_forward_hook(_watch(name, seen.setdefault(name, []))))
        for pixels in calibration[:PICTURES]:
            caption(model, pixels)
    return {name: _join(parts) for name, parts in seen.items()}


@torch.no_grad()
def caption(model: BlipForConditionalGeneration, pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Lets a model say a few words about a picture, float32 (1, 3, side, side).

    Returns the encoder's states, (1, 1 + patches, width), and token ids from the first token on, (words,).
    """
    states = model.vision_model(pixel_values=torch.from_numpy(pixels)).last_hidden_state
    (tokens,) = say(model, states)
    return states, tokens


def _watch(name: str, parts: list[Inputs]) -> Callable[[Any, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def take(_: Any, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        rows = arguments[0].flatten(0, -2)
        low, high = rows.amin(dim=0), rows.amax(dim=0)
        for what, ends in (("takes in", (low, high)), ("gives", output.aminmax())):
            if not all(end.isfinite().all() for end in ends):
                raise InputError(
                    f"{name} {what} inf or NaN for the calibration pictures, as weights are too large to compute with "
                    "in float32: choose another model, or another recipe if it is a pass that makes them so"
                )
        parts.append(Inputs(rows[:: -(-len(rows) // ROWS)].clone(), low, high))

    return take


def _join(parts: list[Inputs]) -> Inputs:
    return Inputs(
        torch.cat([part.rows for part in parts]),
        torch.stack([part.low for part in parts]).amin(dim=0),
        torch.stack([part.high for part in parts]).amax(dim=0),
    )
