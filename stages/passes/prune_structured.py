"""Structured pruning: attention heads and MLP neurons leave the model, and what reads the others makes up for them.

Those go that can be missed most easily, given that the layer which read them is fitted anew to what is left: in each
block by the optimal brain surgeon's rule for groups, among blocks by what the layer norm behind them notices for each
multiplication saved, so that blocks lose uneven shares. No training: all of it is least squares over what the layers
take in on the calibration pictures.
Sources: E. Kurtic, E. Frantar, D. Alistarh, ZipLM: Inference-Aware Structured Pruning of Language Models, NeurIPS 2023
(groups, in order); B. Hassibi, D. Stork, Second Order Derivatives for Network Pruning, NIPS 1992.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import BlipForConditionalGeneration

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch_blocks import Block, blocks, resize
from stages.captioner.runtimes.pytorch_merging import lengths, merged_patches
from stages.captioner.runtimes.pytorch_vocabulary import output_rows
from stages.passes.activations import Moments, add_moments

# Of a block's units that are left, the share that goes at once: one by one, the many neurons would take hours.
AT_ONCE = 1 / 32
# Work is counted for the word of this number, as a caption has some ten.
WORD = 10


@dataclass
class Taken(Moments):
    """What a block's reader took in, added up over rows, and how far the sum behind it varied within a row."""

    variation: float = 0.0


class Removal(NamedTuple):
    """The units of a block in the order in which they can go, but for the last, and the squared error that each adds to
    what the reader gives, summed over its outputs."""

    units: list[int]
    errors: list[float]


@torch.no_grad()
def apply(
    model: BlipForConditionalGeneration, amount: float, decoder_amount: float, calibration: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Takes the share `amount` of a picture's multiplications, and `decoder_amount` of a word's, out of a model, in
    place.

    `calibration` is pixels, float32 (1, 3, side, side) each. Raises InputError if so much can't go.

    Returns the shares of multiplications and of parameters that are left, and the share of each block's units.
    """
    own_blocks = list(blocks(model))
    taken = _watch_captioning(model, own_blocks, calibration)
    before, parameters = Work.of(model), _parameters(model)
    removals = {
        block: order(
            model.get_parameter(f"{block.reader}.weight").double(), taken[block.reader].covariance()[1], block.width
        )
        for block in own_blocks
    }
    gone = {block: 0 for block in own_blocks}
    # The decoder first, as a head of its cross-attention that goes spares work in both.
    for part, share in (("token", decoder_amount), ("encode", amount)):
        chosen = [block for block in own_blocks if block.reader.startswith("vision_model") == (part == "encode")]
        _choose(model, chosen, part, share, before, removals, taken, gone)
    left = {}
    for block in own_blocks:
        units = _units(model, block)
        if gone[block]:
            kept = sorted(set(range(units)) - set(removals[block].units[: gone[block]]))
            _leave_out(model, block, kept, *taken[block.reader].covariance())
        left[block.reader] = round(1 - gone[block] / units, 4)
    after = Work.of(model)
    return {
        "encode_left": round(after.encode / before.encode, 4),
        "token_left": round(after.token / before.token, 4),
        "parameters_left": round(_parameters(model) / parameters, 4),
        "units_left": left,
    }


def _watch_captioning(
    model: BlipForConditionalGeneration, own_blocks: Iterable[Block], calibration: Sequence[np.ndarray]
) -> dict[str, Taken]:
    """What the reader of each block took in while the model captioned, by the reader's name."""
    taken = {block.reader: Taken() for block in own_blocks}
    with ExitStack() as hooks:
        for block in own_blocks:
            norm = model.get_submodule(block.norm)
            hooks.enter_context(norm.register_forward_pre_hook(_add_variation(taken[block.reader])))
        add_moments(model, taken, calibration)
    return taken


def _add_variation(taken: Taken) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
    def add(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        rows = arguments[0].flatten(0, -2)
        taken.variation += float(rows.var(dim=-1, correction=0).sum(dtype=torch.float64)) * rows.shape[-1]

    return add


def order(weight: torch.Tensor, covariance: torch.Tensor, width: int) -> Removal:
    """In which order the units of a block can go, each as wide, if their reader's weight is fitted anew each time.

    Takes its weight, float64 (outputs, channels), and the covariance of what it takes in, (channels, channels).
    """
    weight, inverse = weight.clone(), torch.linalg.inv(covariance)
    left = torch.arange(weight.shape[1] // width)
    units, errors = list[int](), list[float]()
    while len(left) > 1:
        count = max(1, int(AT_ONCE * len(left)))
        by_error = _missed(weight, inverse, left, width).argsort()
        goes, left = left[by_error[:count]], left[by_error[count:]]
        at = _channels(goes, width)
        replaced = torch.linalg.solve(inverse[at][:, at], torch.cat([inverse[at], weight[:, at].T], dim=1))
        from_inverse, from_weight = replaced[:, : len(inverse)], replaced[:, len(inverse) :]
        error = float((weight[:, at].T * from_weight).sum())
        units += goes.tolist()
        errors += [max(error, 0.0) / count] * count
        # What belongs to those that go becomes 0 in both, so neither has to be copied without it.
        weight -= weight[:, at] @ from_inverse
        inverse.addmm_(inverse[:, at], from_inverse, alpha=-1)
    return Removal(units, errors)


def _channels(units: torch.Tensor, width: int) -> torch.Tensor:
    return (units[:, None] * width + torch.arange(width)).flatten()


def _missed(weight: torch.Tensor, inverse: torch.Tensor, left: torch.Tensor, width: int) -> torch.Tensor:
    """The squared error that each unit of those left adds if it goes alone, float64 (units,)."""
    units = weight.shape[1] // width
    own = inverse.unflatten(0, (units, width)).unflatten(2, (units, width)).diagonal(dim1=0, dim2=2).movedim(-1, 0)
    columns = weight.T.unflatten(0, (units, width))[left]
    missed: torch.Tensor = (columns * torch.linalg.solve(own[left], columns)).sum(dim=(1, 2))
    return missed


def _choose(
    model: BlipForConditionalGeneration,
    chosen: list[Block],
    part: str,
    amount: float,
    before: "Work",
    removals: Mapping[Block, Removal],
    taken: Mapping[str, Taken],
    gone: dict[Block, int],
) -> None:
    """Lets units of the chosen blocks go, those first that are missed least for what they cost, until a part of the
    work has shrunk by `amount`. Adds to `gone`."""
    costs = {block: Work.of_unit(model, block) for block in removals}
    whole = getattr(before, part)
    saved = sum(gone[block] * getattr(costs[block], part) for block in removals)

    def price(block: Block) -> float:
        own = taken[block.reader]
        return removals[block].errors[gone[block]] * own.rows / own.variation / int(getattr(costs[block], part))

    while saved < amount * whole:
        open_blocks = [block for block in chosen if gone[block] < len(removals[block].units)]
        if not open_blocks:
            raise InputError(
                f"structured pruning by {amount} is not to be had: with one head and one neuron left in each layer, "
                f"{1 - saved / whole:.2f} of the multiplications remain: choose less"
            )
        block = min(open_blocks, key=price)
        gone[block] += 1
        saved += getattr(costs[block], part)


def _units(model: BlipForConditionalGeneration, block: Block) -> int:
    return int(model.get_parameter(f"{block.reader}.weight").shape[1] // block.width)


def _leave_out(
    model: BlipForConditionalGeneration, block: Block, kept: list[int], mean: torch.Tensor, covariance: torch.Tensor
) -> None:
    """Keeps some units of a block, and fits the layer that reads them to what it gave with all."""
    at = _channels(torch.tensor(kept), block.width)
    layers = {name: model.get_submodule(name) for name in (*block.makers, block.reader)}
    resize(model, block, len(at))
    for name in block.makers:
        whole, own = layers[name], model.get_submodule(name)
        rows = torch.cat([at + part * len(mean) for part in range(block.repeats)])
        own.weight, own.bias = _parameter(whole.weight[rows]), _parameter(whole.bias[rows])
    whole, own = layers[block.reader], model.get_submodule(block.reader)
    weight = whole.weight.double()
    fitted = fit(weight, covariance, at)
    own.weight = _parameter(fitted.float())
    own.bias = _parameter((whole.bias + weight @ mean - fitted @ mean[at]).float())


def fit(weight: torch.Tensor, covariance: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """The weight, float64 (outputs, as many), that gives from some channels most nearly what one gave from all."""
    fitted: torch.Tensor = torch.linalg.solve(covariance[channels][:, channels], covariance[channels] @ weight.T).T
    return fitted


def _parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor.contiguous(), requires_grad=False)


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Work(NamedTuple):
    """Multiplications of what is computed once for a picture, and for the word of number `WORD`."""

    encode: int
    token: int

    @classmethod
    def of(cls, model: BlipForConditionalGeneration) -> "Work":
        """Of a whole model, as graphs compute it."""
        vision, text = model.config.vision_config, model.config.text_config
        states = lengths(vision)
        encode = (states[0] - 1) * vision.hidden_size * 3 * vision.patch_size**2
        head = vision.hidden_size // vision.num_attention_heads
        for length, merged in zip(states[:-1], merged_patches(vision), strict=True):
            odd, even = length // 2, (length - 1) // 2
            encode += (odd * head + merged * (vision.hidden_size + 1)) * even if merged else 0
        token = text.hidden_size * (text.hidden_size + output_rows(model))
        for block in blocks(model):
            own, units = cls.of_unit(model, block), _units(model, block)
            encode, token = encode + units * own.encode, token + units * own.token
        return cls(encode, token)

    @classmethod
    def of_unit(cls, model: BlipForConditionalGeneration, block: Block) -> "Work":
        """Of a head or a neuron of a block."""
        states = lengths(model.config.vision_config)
        inputs = [model.get_parameter(f"{name}.weight").shape[1] for name in block.makers]
        read = int(model.get_parameter(f"{block.reader}.weight").shape[0]) * block.width
        made = [block.repeats * block.width * size for size in inputs]
        if block.reader.startswith("vision_model"):
            layer, attends = int(block.reader.split(".")[3]), block.width > 1
            seen = states[layer if attends else layer + 1]  # as patches merge between attention and MLP
            return cls(seen * (sum(made) + read + (2 * seen * block.width if attends else 0)), 0)
        if ".crossattention." in block.reader:
            query, *of_picture = made
            return cls(states[-1] * sum(of_picture), query + read + 2 * states[-1] * block.width)
        return cls(0, sum(made) + read + (2 * WORD * block.width if len(made) > 1 else 0))
