"""What the demo tells: `python -m tests.demo.sensitivity` damages its captioner in graded ways and prints what each
costs, as the table of reports/README.md.

An instrument for arithmetic that costs captions must show small damages as small ones, and tell them from nothing at
the number of pictures that the demo is evaluated on.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from rich.progress import track
from transformers import BertTokenizer, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.alternatives.sparse_captions import RESAMPLES, Said, say
from stages.captioner.command_line import run
from stages.captioner.runtimes.pytorch import PyTorchCaptioner
from stages.passes import prune, side
from stages.records.estimate import Estimate
from stages.scenes.composition import Scene, compose
from stages.scenes.drawing import draw
from stages.scenes.wording import is_right, refer
from stages.scoring.next_tokens import NextTokens, agreement, likeliest
from stages.scoring.quality import score_per_image
from stages.scoring.small_samples import estimate_relative_change, estimate_share
from stages.scoring.statistics import estimate_mean
from stages.setup.params import DEMO_FOLDER, Scenes, read_params

LITTLE, MUCH = 0.02, 0.5  # shares of CIDEr: no knob is to jump from less than the one to more than the other
TOLERABLE = 0.10


class Damage(NamedTuple):
    """One step of a knob, and what it does to a model."""

    knob: str
    step: str
    do: Callable[[BlipForConditionalGeneration, torch.Generator], None]


class Row(NamedTuple):
    """A damage and what it costs, with intervals: CIDEr as a share of the baseline's, and shares of pictures."""

    damage: Damage
    cider_change: Estimate
    right: Estimate
    same: Estimate
    kl: Estimate

    @property
    def told(self) -> bool:
        """Whether the loss of CIDEr is told from nothing."""
        return self.cider_change.high < 0


# Damages


def damages(model: BlipForConditionalGeneration) -> list[Damage]:
    """All of them, from little to much within each knob."""
    encoder, decoder = len(model.vision_model.encoder.layers), len(model.text_decoder.bert.encoder.layer)
    return [
        *(Damage("bits of weights", str(bits), partial(_round_weights, bits=bits)) for bits in (8, 7, 6, 5, 4)),
        *(Damage("L1 pruning", f"{10 * tenths} %", partial(_prune, share=tenths / 10)) for tenths in range(1, 8)),
        *(Damage("encoder layer left out", str(i + 1), partial(_leave_out_encoder, layer=i)) for i in range(encoder)),
        *(Damage("decoder layer left out", str(i + 1), partial(_leave_out_decoder, layer=i)) for i in range(decoder)),
        *(Damage("heads dropped", f"{share} %", partial(_drop_heads, share=share / 100)) for share in (5, 10, 20, 30)),
        *(
            Damage("neurons dropped", f"{share} %", partial(_drop_neurons, share=share / 100))
            for share in (5, 10, 20, 30)
        ),
        *(Damage("side of the pictures", f"{share} %", partial(_shrink, share=share / 100)) for share in (83, 67, 50)),
        *(Damage("patches merged", f"{share} %", partial(_merge, share=share / 100)) for share in (5, 10, 20, 30, 50)),
    ]


def _nothing(model: BlipForConditionalGeneration, dice: torch.Generator) -> None:
    pass


def _round_weights(model: BlipForConditionalGeneration, dice: torch.Generator, bits: int) -> None:
    """Rounds each linear layer's weight to so many bits, one scale for each output."""
    most = 2 ** (bits - 1) - 1
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            scale = layer.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / most
            layer.weight.copy_((layer.weight / scale).round() * scale)


def _prune(model: BlipForConditionalGeneration, dice: torch.Generator, share: float) -> None:
    prune.apply(model, share)


def _leave_out_encoder(model: BlipForConditionalGeneration, dice: torch.Generator, layer: int) -> None:
    del model.vision_model.encoder.layers[layer]


def _leave_out_decoder(model: BlipForConditionalGeneration, dice: torch.Generator, layer: int) -> None:
    layers = model.text_decoder.bert.encoder.layer
    del layers[layer]
    for number, kept in enumerate(layers):  # by which each finds its part of the cache
        kept.attention.self.layer_idx = kept.crossattention.self.layer_idx = number
    model.text_decoder.config.num_hidden_layers = len(layers)


def _drop_heads(model: BlipForConditionalGeneration, dice: torch.Generator, share: float) -> None:
    """Silences so many attention heads of all that the model has."""
    heads = model.config.text_config.num_attention_heads
    outputs = [layer.self_attn.projection for layer in model.vision_model.encoder.layers]
    for layer in model.text_decoder.bert.encoder.layer:
        outputs += [layer.attention.output.dense, layer.crossattention.output.dense]
    _silence(outputs, heads, share, dice)


def _drop_neurons(model: BlipForConditionalGeneration, dice: torch.Generator, share: float) -> None:
    outputs = [layer.mlp.fc2 for layer in model.vision_model.encoder.layers]
    outputs += [layer.output.dense for layer in model.text_decoder.bert.encoder.layer]
    _silence(outputs, outputs[0].in_features, share, dice)


def _silence(outputs: list[torch.nn.Linear], parts: int, share: float, dice: torch.Generator) -> None:
    """Zeroes what so many parts, each a row of neighbouring inputs, give to the layers that read them."""
    chosen = torch.randperm(len(outputs) * parts, generator=dice)[: round(share * len(outputs) * parts)]
    for number in chosen.tolist():
        layer, part = outputs[number // parts], number % parts
        width = layer.in_features // parts
        layer.weight[:, part * width : (part + 1) * width] = 0


def _shrink(model: BlipForConditionalGeneration, dice: torch.Generator, share: float) -> None:
    vision = model.config.vision_config
    side.apply(model, round(share * vision.image_size / vision.patch_size) * vision.patch_size)


def _merge(model: BlipForConditionalGeneration, dice: torch.Generator, share: float) -> None:
    """Puts the mean of two neighbours in the place of both, so that there is a share of the patches less."""

    def merge(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        first, patches = output[:, :1], output[:, 1:]
        count, half = patches.shape[1], patches.shape[1] // 2
        pairs = torch.randperm(half, generator=torch.Generator().manual_seed(seed))
        merged, kept = pairs.split([round(share * count), half - round(share * count)])
        left, right, last = patches[:, : 2 * half : 2], patches[:, 1 : 2 * half : 2], patches[:, 2 * half :]
        return torch.cat([first, (left + right)[:, merged] / 2, left[:, kept], right[:, kept], last], dim=1)

    seed = int(torch.randint(2**31, (1,), generator=dice))
    model.vision_model.embeddings.register_forward_hook(merge)


# Captioning


def captioner_of(model: BlipForConditionalGeneration, folder: Path) -> PyTorchCaptioner:
    """A captioner with the words and the way to prepare pictures of a folder, for the model's own side."""
    side = model.config.vision_config.image_size
    processor = BlipImageProcessorPil.from_pretrained(folder, size={"height": side, "width": side})
    return PyTorchCaptioner(model, BertTokenizer.from_pretrained(folder), processor)


# What it costs


def measure(
    folder: Path, pictures: int, chosen: Callable[[BlipForConditionalGeneration], list[Damage]] = damages
) -> Iterator[Row]:
    """What each damage of a model costs on the first held-out scenes; the first row is the undamaged model's.

    Raises ValueError if that has a CIDEr of 0.
    """
    scenes = [compose(seed, "held_out") for seed in range(pictures)]
    drawn = [draw(scene, seed) for seed, scene in enumerate(scenes)]
    references = [refer(scene, seed) for seed, scene in enumerate(scenes)]
    model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    baseline = say(captioner_of(model, folder), drawn)
    expected = [likeliest(logits) for logits in baseline.logits]
    cider = score_per_image(baseline.captions, references)["cider"]
    yield _row(Damage("nothing", "", _nothing), baseline, baseline.captions, expected, cider, cider, scenes)
    for damage in track(chosen(model), description="damaging"):
        damaged = copy.deepcopy(model)
        with torch.no_grad():
            damage.do(damaged, torch.Generator().manual_seed(0))
        own = say(captioner_of(damaged, folder), drawn, baseline.tokens)
        scores = score_per_image(own.captions, references)["cider"]
        yield _row(damage, own, baseline.captions, expected, scores, cider, scenes)


def _row(
    damage: Damage,
    own: Said,
    captions: list[str],
    expected: list[NextTokens],
    cider: np.ndarray,
    before: np.ndarray,
    scenes: list[Scene],
) -> Row:
    divergences = [agreement(logits, tokens)[1] for logits, tokens in zip(own.logits, expected, strict=True)]
    return Row(
        damage,
        estimate_relative_change(cider, before).estimate,
        estimate_share([float(is_right(said, scene)) for said, scene in zip(own.captions, scenes, strict=True)]),
        estimate_share([float(said == other) for said, other in zip(own.captions, captions, strict=True)]),
        estimate_mean(divergences, RESAMPLES),
    )


def table(rows: list[Row]) -> str:
    """In Markdown. Bold: told from nothing, and less than a tenth of CIDEr lost."""
    lines = ["| damage | | CIDEr (95 %) | right captions | same captions | KL, nats |", "|---|---|---|---|---|---|"]
    for row in rows:
        change = _percent(row.cider_change, sign=True)
        change = f"**{change}**" if row.told and row.cider_change.value > -TOLERABLE else change
        kl = f"{row.kl.value:.4f} ({row.kl.low:.4f}–{row.kl.high:.4f})"
        cells = (row.damage.knob, row.damage.step, change, _percent(row.right), _percent(row.same), kl)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(estimate: Estimate, *, sign: bool = False) -> str:
    value, low, high = (f"{100 * number:{'+' if sign else ''}.1f}".replace("-", "−") for number in estimate)
    return f"{value} % ({low} to {high})"


def jumps(rows: list[Row]) -> list[str]:
    """The knobs that go from little lost to much in one step. The layers are no steps of a knob."""
    found = []
    for before, after in pairwise(rows):
        if "layer" in after.damage.knob:
            continue
        first = before.damage.knob != after.damage.knob
        if (first or before.cider_change.value > -LITTLE) and after.cider_change.value < -MUCH:
            found.append(f"{after.damage.knob}: {'nothing' if first else before.damage.step} to {after.damage.step}")
    return found


def main(folder: Annotated[Path, typer.Argument(help="of a captioner of drawn scenes")] = Path(DEMO_FOLDER)) -> None:
    """Prints the table, and whether the demo is the instrument that it is to be."""
    dataset = read_params().models["demo"].dataset
    rows = list(measure(folder, dataset.evaluation if isinstance(dataset, Scenes) else 500))
    print(table(rows))
    told = sum(row.told and row.cider_change.value > -TOLERABLE for row in rows)
    print(f"\n{told} damages are told from nothing and lose less than a tenth of CIDEr.")
    print("From less than 2 % lost to more than 50 % in one step: " + (", ".join(jumps(rows)) or "none") + ".")


if __name__ == "__main__":
    run(main)
