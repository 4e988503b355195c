"""A short distillation: a model that was cut learns from the baseline what to say of the calibration pictures.

Behind each word of a caption, the next words shall be as likely as with the baseline, and if the encoder learns too,
its states be those of the baseline's patches. Words' embeddings and the output layer stay, and so do weights of zero.
Steps of one size suit weights of one scale, so the model is to be equalized before: with outliers, more is lost than
learned. The decoder alone takes a tenth of the time, as the encoder's states are then computed once.
Sources: G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, arXiv 1503.02531; V. Sanh et al.,
DistilBERT, arXiv 1910.01108 (states as well as next words).
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import BlipForConditionalGeneration

from stages.captioner.instruction_sets import known_instruction_sets
from stages.captioner.runtimes.pytorch_merging import MergingEncoder, merge
from stages.passes.next_words import divergence, next_words, say, to_batch
from stages.passes.side import interpolate_positions
from stages.passes.training_state import read_state, restore_state, save_state
from stages.setup.params import Recover

BATCH = 16  # pictures a step
AT_ONCE = 4  # pictures whose gradients are computed at once, as those of an encoder at full size take 1 GB each
ENCODER_SHARE = 0.1  # of the learning rate
WARM_UP = 0.1  # of all steps
SAVE_AFTER = 30.0  # seconds
POINTS = 25  # of the curve that is kept
MULTIPLY_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


class Lesson(NamedTuple):
    """Whom a model learns from, on what, and where its state is kept meanwhile."""

    teacher: BlipForConditionalGeneration
    pixels: Sequence[np.ndarray]
    """Of the calibration pictures, float32 (1, 3, side, side) each, of the teacher's side."""
    texts: Sequence[Sequence[int]]
    """Further captions to go through behind any picture, token ids without those that begin and end them."""
    state: Path


class Taught(NamedTuple):
    """What the teacher says of a picture, and the states of both."""

    caption: torch.Tensor
    expected: torch.Tensor
    """The teacher's, (1, 1 + patches, width)."""
    own: torch.Tensor
    """Those of the model as it was before it learned."""


@torch.enable_grad()
def apply(
    model: BlipForConditionalGeneration, settings: Recover, lesson: Lesson, calibration: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Lets a model learn from a teacher, in place; one that was killed goes on where its state was saved last.

    `calibration` is the lesson's pictures in pixels of the model's own side, float32 (1, 3, side, side) each. Computes
    on a GPU if there is one, and in bfloat16 where that, or the CPU, multiplies it.

    Returns the KL divergence of next words, in nats, on the calibration pictures, before and after (None if that is not
    finite), the loss on the way, (step, loss) each, and whether all was undone, as it is where it made words worse.
    """
    # A torch for GPUs names their kind where there is none, too.
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    identity = _identity(model, settings, lesson, calibration)
    for own in (model, lesson.teacher):
        own.to(device)
    taught = list(_teach(model, lesson, calibration))
    before = _lost(model, lesson.teacher, taught)
    learning = _learning(model, settings)
    beginning = {name: parameter.detach().clone() for name, parameter in learning.items()}
    hooks = [parameter.register_hook(_keep_zeros(parameter)) for parameter in learning.values()]
    losses = _train(model, settings, lesson, taught, calibration, learning, identity)
    for hook in hooks:
        hook.remove()
    model.requires_grad_(False)
    if settings.part == "model":
        taught = [own._replace(own=_encode(model, pixels)) for own, pixels in zip(taught, calibration, strict=True)]
    after = _lost(model, lesson.teacher, taught)
    if undone := not after <= before:
        _undo(learning, beginning)
    for own in (model, lesson.teacher):
        own.to("cpu")
    lesson.state.unlink(missing_ok=True)
    return {
        "kl_nats_before": round(before, 6),
        "kl_nats_after": round(after, 6) if math.isfinite(after) else None,
        "undone": undone,
        "losses": _curve(losses),
    }


def _identity(
    model: BlipForConditionalGeneration, settings: Recover, lesson: Lesson, calibration: Sequence[np.ndarray]
) -> str:
    """Of all that decides what is learned, so that no state of anything else is gone on from."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    digest.update(repr(list(map(list, lesson.texts))).encode())
    for own in (model, lesson.teacher):
        for parameter in own.parameters():
            digest.update(parameter.detach().numpy().tobytes())
    for pixels in (*lesson.pixels, *calibration):
        digest.update(pixels.tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _teach(model: BlipForConditionalGeneration, lesson: Lesson, calibration: Sequence[np.ndarray]) -> Iterator[Taught]:
    for first in range(0, len(calibration), BATCH):
        seen, own = (np.concatenate(pixels[first : first + BATCH]) for pixels in (lesson.pixels, calibration))
        expected = _encode(lesson.teacher, seen)
        captions = say(lesson.teacher, expected)
        yield from map(Taught, captions, expected.split(1), _encode(model, own).split(1))


@torch.no_grad()
def _encode(model: BlipForConditionalGeneration, pixels: np.ndarray) -> torch.Tensor:
    seen = torch.from_numpy(pixels).to(model.device)
    states: torch.Tensor = model.vision_model(pixel_values=seen).last_hidden_state
    return states


@torch.no_grad()
def _lost(
    model: BlipForConditionalGeneration, teacher: BlipForConditionalGeneration, taught: Sequence[Taught]
) -> float:
    """The divergence from the teacher's next words, on the average over pictures."""
    lost = [
        divergence(
            next_words(teacher, to_batch(teacher, [picture.caption], picture.expected)),
            next_words(model, to_batch(model, [picture.caption], picture.own)),
        )
        for picture in taught
    ]
    return float(torch.stack(lost).mean())


@torch.no_grad()
def _undo(learning: Mapping[str, torch.nn.Parameter], beginning: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in learning.items():
        parameter.copy_(beginning[name])
    print("what was learned made next words worse on the calibration pictures, so it is undone: try other settings")


def _learning(model: BlipForConditionalGeneration, settings: Recover) -> dict[str, torch.nn.Parameter]:
    """What learns, by name: all that layers have."""
    chosen = (".layer.",) if settings.part == "decoder" else (".layer.", ".layers.")
    named = {name: own for name, own in model.named_parameters() if any(part in name for part in chosen)}
    for parameter in named.values():
        parameter.requires_grad_(True)
    return named


def _keep_zeros(parameter: torch.nn.Parameter) -> Callable[[torch.Tensor], torch.Tensor]:
    """Hides a matrix's weights of zero from the optimizer, as pruning made them so."""
    kept = parameter.detach() != 0
    return lambda gradient: gradient * kept if parameter.dim() == 2 else gradient


def _train(
    model: BlipForConditionalGeneration,
    settings: Recover,
    lesson: Lesson,
    taught: Sequence[Taught],
    calibration: Sequence[np.ndarray],
    learning: Mapping[str, torch.nn.Parameter],
    identity: str,
) -> list[float]:
    """Makes all steps that were not made before, and returns the loss of each."""
    optimizer = _optimizer(learning)
    losses: list[float] = []
    if (found := read_state(lesson.state)) and found[0].get("identity") == identity:
        restore_state(found[1], learning, [optimizer])
        losses = json.loads(found[0]["losses"])
    text = TextColumn("learning from the baseline, loss {task.fields[loss]:.4f}")
    with Progress(text, BarColumn(), TimeRemainingColumn()) as progress:
        saved = time.monotonic()
        task = progress.add_task("", total=settings.steps, completed=len(losses), loss=math.nan)
        for step in range(len(losses), settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * group["share"] * _rate(step, settings.steps)
            chosen = _chosen(step, len(taught))
            losses.append(_step(model, settings, lesson, [(taught[at], calibration[at]) for at in chosen], step))
            torch.nn.utils.clip_grad_norm_(learning.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            progress.update(task, completed=step + 1, loss=losses[-1])
            if time.monotonic() > saved + SAVE_AFTER:
                metadata = {"identity": identity, "losses": json.dumps(losses)}
                save_state(lesson.state, learning, [optimizer], metadata)
                saved = time.monotonic()
    return losses


def _optimizer(learning: Mapping[str, torch.nn.Parameter]) -> torch.optim.Optimizer:
    """For the decoder's parameters, which few pictures change soon, and the encoder's, which they spoil as soon."""
    encoder, decoder = (
        [own for name, own in learning.items() if name.startswith(part)] for part in ("vision_model.", "text_decoder.")
    )
    groups: list[dict[str, Any]] = [{"params": decoder, "share": 1.0}]
    if encoder:
        groups.append({"params": encoder, "share": ENCODER_SHARE})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)


def _rate(step: int, steps: int) -> float:
    """The share of the highest learning rate: it rises in a line, then falls along a cosine."""
    warm_up = WARM_UP * steps
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def _chosen(step: int, pictures: int) -> list[int]:
    """The pictures of a step: all pictures in random order, again and again."""
    rounds = (divmod(place, pictures) for place in range(step * BATCH, (step + 1) * BATCH))
    return [random.Random(number).sample(range(pictures), pictures)[at] for number, at in rounds]


def _step(
    model: BlipForConditionalGeneration,
    settings: Recover,
    lesson: Lesson,
    pictures: Sequence[tuple[Taught, np.ndarray]],
    step: int,
) -> float:
    """Adds a step's gradients to the parameters, and returns its loss."""
    dice = random.Random(f"texts {step}")
    at_once = AT_ONCE if settings.part == "model" else BATCH
    total = 0.0
    for first in range(0, BATCH, at_once):
        taught, pixels = zip(*pictures[first : first + at_once], strict=True)
        captions = [_text(model, lesson, own.caption, dice) for own in taught]
        expected = torch.cat([own.expected for own in taught])
        with _precision(model.device):
            if settings.part == "model":
                own, strayed = _encode_and_compare(model, np.concatenate(pixels), expected)
            else:
                own, strayed = torch.cat([picture.own for picture in taught]), torch.tensor(0.0)
            with torch.no_grad():
                wanted = next_words(lesson.teacher, to_batch(lesson.teacher, captions, expected))
            loss = divergence(wanted, next_words(model, to_batch(model, captions, own))) + strayed
        (loss * at_once / BATCH).backward()
        total += float(loss.detach()) * at_once / BATCH
    return total


def _text(
    model: BlipForConditionalGeneration, lesson: Lesson, caption: torch.Tensor, dice: random.Random
) -> torch.Tensor:
    """What is gone through behind a picture: its caption, or as often one of the further texts, if there are any."""
    if not lesson.texts or dice.random() < 0.5:
        return caption
    text = model.config.text_config
    chosen = dice.choice(lesson.texts)[: text.max_position_embeddings - 1]
    return caption.new_tensor([text.bos_token_id, *chosen, text.sep_token_id])


def _precision(device: torch.device) -> AbstractContextManager[object]:
    known = known_instruction_sets()
    multiplied = device.type != "cpu" or any(known.get(name) for name in MULTIPLY_BFLOAT16)
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplied)


def _encode_and_compare(
    model: BlipForConditionalGeneration, pixels: np.ndarray, expected: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's states, and how far they are from those expected: their squared error as a share of the variance."""
    encoder = model.vision_model.encoder
    merging = isinstance(encoder, MergingEncoder)
    keys: list[torch.Tensor] = []
    with ExitStack() as hooks:
        for layer in encoder.layers if merging else ():
            watch = _watch_keys(keys, encoder.head_width)
            hooks.enter_context(layer.self_attn.qkv.register_forward_hook(watch))
        own = model.vision_model(pixel_values=torch.from_numpy(pixels).to(model.device)).last_hidden_state
    across = model.vision_model.embeddings.num_patches**0.5
    wanted, sizes = interpolate_positions(expected, round(across)), None
    for key, count in zip(keys, encoder.merged if merging else (), strict=True):
        wanted, sizes = merge(wanted, sizes, key, count)
    return own, (own - wanted).square().mean() / wanted.var()


def _watch_keys(keys: list[torch.Tensor], width: int) -> Callable[[Any, Any, torch.Tensor], None]:
    """Takes keys, (pictures, heads, length, head width), from what a projection to queries, keys and values gives."""

    def take(_: Any, __: Any, given: torch.Tensor) -> None:
        keys.append(given.detach().unflatten(-1, (3, -1, width))[..., 1, :, :].transpose(1, 2))

    return take


def _curve(losses: Sequence[float]) -> list[tuple[int, float]]:
    """The mean loss of so many stretches, each with its last step."""
    parts = np.array_split(np.arange(len(losses)), min(POINTS, len(losses)))
    return [(int(part[-1]) + 1, round(float(np.mean([losses[at] for at in part])), 6)) for part in parts]
