"""What the linear layers of a model take in on calibration pictures: the ground for every decision about int8, and for
what pruning drops."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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
# Added to the diagonal of what is to be inverted, as a share of its mean: what the calibration pictures show too seldom
# to fit to.
RIDGE = 0.01


class Inputs(NamedTuple):
    """What a linear layer took in: some rows, float32 (rows, channels), and each channel's range over all of them."""

    rows: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


@dataclass
class Moments:
    """What a layer took in, added up over rows: how many, and if there were any their sum, float64 (channels,), and the
    products of each two channels, float32 (channels, channels)."""

    rows: int = 0
    total: torch.Tensor | float = 0.0
    products: torch.Tensor | float = 0.0

    def add(self, rows: torch.Tensor) -> None:
        """Adds rows, float32 (rows, channels)."""
        self.rows += len(rows)
        self.total = self.total + rows.sum(dim=0, dtype=torch.float64)
        self.products = self.products + rows.T @ rows

    def covariance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean, float64 (channels,), and covariance with the ridge, float64 (channels, channels)."""
        mean = torch.as_tensor(self.total, dtype=torch.float64) / self.rows
        return mean, _with_ridge(self._mean_products() - mean.outer(mean))

    def second_moments(self) -> torch.Tensor:
        """The mean products of each two channels with the ridge, float64 (channels, channels)."""
        return _with_ridge(self._mean_products())

    def norms(self) -> torch.Tensor:
        """Each channel's Euclidean norm over all rows, float32 (channels,)."""
        return torch.as_tensor(self.products).diagonal().clamp(min=0).sqrt()

    def _mean_products(self) -> torch.Tensor:
        return torch.as_tensor(self.products, dtype=torch.float64) / self.rows


def _with_ridge(matrix: torch.Tensor) -> torch.Tensor:
    ridge = RIDGE * matrix.diagonal().mean() + torch.finfo(torch.float32).tiny
    matrix.diagonal().add_(ridge)
    return matrix


def capture_moments(model: BlipForConditionalGeneration, calibration: Sequence[np.ndarray]) -> dict[str, Moments]:
    """What every linear layer takes in, by its name, while the model captions all calibration pictures.

    `calibration` is pixels, float32 (1, 3, side, side) each.
    """
    taken = {name: Moments() for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    add_moments(model, taken, calibration)
    return taken


@torch.no_grad()
def add_moments(
    model: BlipForConditionalGeneration, taken: Mapping[str, Moments], calibration: Sequence[np.ndarray]
) -> None:
    """Adds what the layers of these names take in to their moments, while the model captions all calibration pictures,
    pixels, float32 (1, 3, side, side) each."""
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in taken}
    with ExitStack() as hooks:
        for name, rows in kept.items():
            hooks.enter_context(model.get_submodule(name).register_forward_pre_hook(_keep_rows(rows)))
        for pixels in calibration:
            caption(model, pixels)
            for name, rows in kept.items():  # all words at once, as a product for each of them would take long
                taken[name].add(torch.cat(rows))
                rows.clear()


def _keep_rows(rows: list[torch.Tensor]) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
    def keep(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        rows.append(arguments[0].flatten(0, -2))

    return keep


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
