"""DVC stage `train_demo` (frozen): trains the embedded demo captioner on drawn scenes and writes it to `data/demo`.

The model is transformers' own `BlipForConditionalGeneration`, only smaller, with the same special tokens as BLIP's. It
is trained as BLIP was: on smaller pictures first, then on larger ones with interpolated position embeddings. Each patch
learns to tell what it shows, too, by a layer that is thrown away: captions alone teach the encoder slowly.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from rich.progress import Progress
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.blip.processing_blip import BlipProcessor

from stages.captioner.checkpoint import replacing
from stages.captioner.command_line import InputError, run
from stages.passes.side import interpolate_positions
from stages.passes.training_state import read_state, restore_state, save_state
from stages.scenes.composition import KINDS, PATTERNS, Scene, Thing, compose
from stages.scenes.drawing import draw
from stages.scenes.layout import arrange
from stages.scenes.wording import COLORS, RELATIONS, describe, is_right, refer, vocabulary
from stages.setup.params import DemoTraining, TrainingPhase, read_params

OUTPUT = Path("data/demo")
PROGRESS = Path(".dvc/tmp/demo-training")  # which DVC and Git leave alone
STATE, FINISHED = "state.safetensors", "finished.safetensors"

PATCH = 16
# The preferred wording, the same behind the prompt «a picture of», or what anybody might say. The preference is strong
# so that no caption hangs on a coin's toss, which would make a quantised copy look worse than it is.
WORDING_SHARES = (0.80, 0.12, 0.08)
PROMPT = "a picture of "
# So that the decoder looks at the picture instead of guessing from the words before, as pairs that it never saw need.
# Source: S. R. Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016 (word dropout).
WORD_DROPOUT = 0.2
ADAMW_SHARE = 0.4  # of the learning rate that Muon has
WARM_UP = 300  # steps, or a tenth of a short phase
FIRST_VALIDATION_SEED = 1_000_000  # far from the scenes that the `dataset` stage evaluates on
VALIDATION_BATCH = 32
LONGEST_CAPTION = 32  # tokens
# What each patch learns to tell, and the values that it may take.
LABELS: dict[str, tuple[object, ...]] = {
    "kind": ("", *KINDS),
    "color": ("", *COLORS),
    "pattern": ("", *PATTERNS),
    "count": (1, 2, 3, 4),
    "role": (*product(("main", "second"), ("", *RELATIONS)), ("background", "")),
}
IGNORED = -100  # by cross entropy


class DrawnScenes(Dataset[tuple[np.ndarray, str, np.ndarray]]):
    """Training pictures, each drawn when it is asked for and never twice: pixels, side x side x 3 uint8; caption;
    labels of the patches, see `label_patches`."""

    def __init__(self, seeds: range, side: int) -> None:
        self.seeds, self.side = seeds, side

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str, np.ndarray]:
        seed = self.seeds[index]
        scene = compose(seed, "training")
        dice = random.Random(f"wording {seed}")
        preferred = describe(scene)
        wordings = (preferred, PROMPT + preferred, *refer(scene, seed, 1))
        (caption,) = dice.choices(wordings, WORDING_SHARES)
        pixels = np.array(_of_side(draw(scene, seed), self.side))
        return pixels, caption, label_patches(scene, seed, self.side // PATCH)


def label_patches(scene: Scene, seed: int, across: int) -> np.ndarray:
    """What each of `across` x `across` patches shows, as `LABELS` has it: int64 (patches, 5), IGNORED where nothing is.

    It is the thing in whose rectangle the patch's middle lies, and the one that hides the others if there are several.
    Rectangles are at least a patch wide and high, so that small things are labeled, too.
    Source: Z. Jiang et al., All Tokens Matter: Token Labeling for Training Better Vision Transformers, NeurIPS 2021.
    """
    middles = (np.arange(across) + 0.5) / across
    labels = np.full((across, across, len(LABELS)), IGNORED, dtype=np.int64)
    labels[..., 0] = 0
    for place in arrange(scene, seed):
        width, height = max(place.width, 1 / across), max(place.y - place.top, 1 / across)
        rows = np.abs(middles - (place.y + place.top) / 2) <= height / 2
        columns = np.abs(middles - place.x) <= width / 2
        labels[np.ix_(rows, columns)] = _label_thing(place.thing, scene)
    return labels.reshape(-1, len(LABELS))


def _label_thing(thing: Thing, scene: Scene) -> tuple[int, ...]:
    """Of its patches: kind, color, pattern, count, and what the caption says of it, its role in which relation."""
    role = ("main", "second", "background")[scene.things.index(thing)]
    said = (thing.kind, thing.color, thing.pattern, thing.count, (role, scene.relation if role != "background" else ""))
    return tuple(LABELS[name].index(value) for name, value in zip(LABELS, said, strict=True))


def _of_side(picture: Image.Image, side: int) -> Image.Image:
    return picture.resize((side, side), Image.Resampling.BICUBIC)


def build_processor(folder: Path, side: int) -> BlipProcessor:
    """The demo's tokenizer (a WordPiece vocabulary of every word in the scenes) and its image processor."""
    # BLIP's own special tokens; BLIP too calls [unused1] its end of sequence and gives its first token no name.
    words = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *vocabulary()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vocab.txt"
    file.write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(str(file), do_lower_case=True, model_max_length=LONGEST_CAPTION)
    return BlipProcessor(BlipImageProcessorPil(size={"height": side, "width": side}), tokenizer)


def build_model(tokenizer: BertTokenizer, side: int) -> BlipForConditionalGeneration:
    """An untrained BLIP of 7.4 M parameters: deep and narrow as BLIP-base is, 8 encoder and 6 decoder layers, 192 wide.

    A picture has (side / 16)² patches, 144 at 192 pixels.
    """
    width, heads = 192, 6
    named_tokens = len(tokenizer)
    config = BlipConfig(
        vision_config={
            "image_size": side,
            "patch_size": PATCH,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 8,
            "num_attention_heads": heads,
            "projection_dim": width,
            "initializer_range": 0.02,
        },
        text_config={
            "vocab_size": named_tokens + 2,
            "hidden_size": width,
            "encoder_hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 6,
            "num_attention_heads": heads,
            "projection_dim": width,
            "max_position_embeddings": LONGEST_CAPTION,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "max_length": 20,
            "bos_token_id": named_tokens,
            "eos_token_id": 2,
            "sep_token_id": tokenizer.sep_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        projection_dim=width,
        image_text_hidden_size=width,
    )
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        model.vision_model.embeddings.position_embedding[0, 1:] = _sines(side // PATCH, width)
    return model


def _sines(across: int, width: int) -> torch.Tensor:
    """Positions to begin with, of `across` x `across` patches: float32 (patches, width), half for rows and columns.

    Source: A. Vaswani et al., Attention Is All You Need, NeurIPS 2017; of two axes as X. Chen et al., ICCV 2021, do it.
    """
    frequencies = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    angles = torch.arange(across)[:, None] * (12 / across) * frequencies
    sines = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = sines[:, None].expand(-1, across, -1), sines.expand(across, -1, -1)
    return 0.3 * torch.cat([rows, columns], dim=-1).reshape(across * across, width)


@dataclass
class Training:
    """All that training goes on from: steps made of which phase, losses since the log's last row."""

    model: BlipForConditionalGeneration
    labeler: torch.nn.Linear
    optimizers: tuple[torch.optim.Optimizer, ...]
    phase: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    log: list[dict[str, float]] = field(default_factory=list)


def train(
    settings: DemoTraining,
    output: Path,
    progress_folder: Path,
    log_every: int = 500,
    save_every: int = 100,
    validation_scenes: int = 256,
) -> None:
    """Trains a captioner and writes weights (float16), configuration and log into `output`.

    Every `save_every` steps its state goes into `progress_folder`, from which a training that was ended goes on as if
    it had not been. Every `log_every` steps held-out scenes are captioned. In each phase the learning rate rises, then
    falls along a cosine. Raises InputError if the folder holds the state of another training.

    Source: I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.
    """
    processor = build_processor(output, settings.phases[-1].side)
    state = progress_folder / STATE
    training = _load(state, settings, processor) or _begin(settings, processor)
    with Progress() as progress:
        task = progress.add_task("training the demo captioner", total=sum(phase.steps for phase in settings.phases))
        while True:
            for loss in _train_phase(training, processor, settings):
                training.losses.append(loss)
                done = _steps_before(settings, training.phase) + training.step
                progress.update(task, completed=done)
                at_end = training.step == settings.phases[training.phase].steps
                if at_end or done % log_every == 0:
                    _log(training, processor, settings, validation_scenes)
                    progress.console.print(training.log[-1])
                if at_end or done % save_every == 0:
                    _save_state(training, state, settings)
            if training.phase + 1 == len(settings.phases):
                break
            training = _next_phase(training, processor, settings)
    pd.DataFrame(training.log).round(4).to_csv(output / "training_log.csv", index=False)
    _save(training.model, processor, output)


# Phases


def _begin(settings: DemoTraining, processor: BlipProcessor) -> Training:
    torch.manual_seed(settings.seed)
    model = build_model(processor.tokenizer, settings.phases[0].side)
    labeler = _build_labeler(model)
    return Training(model, labeler, _optimizers(model, labeler))


def _build_labeler(model: BlipForConditionalGeneration) -> torch.nn.Linear:
    """What tells a patch's labels from its state."""
    return torch.nn.Linear(model.config.vision_config.hidden_size, sum(map(len, LABELS.values())))


def _next_phase(training: Training, processor: BlipProcessor, settings: DemoTraining) -> Training:
    """The next phase's beginning: the same weights for larger pictures, an optimizer that remembers nothing."""
    weights = training.model.state_dict()
    model = build_model(processor.tokenizer, settings.phases[training.phase + 1].side)
    name = "vision_model.embeddings.position_embedding"
    weights[name] = interpolate_positions(weights[name], settings.phases[training.phase + 1].side // PATCH)
    model.load_state_dict(weights)
    optimizers = _optimizers(model, training.labeler)
    return Training(model, training.labeler, optimizers, training.phase + 1, log=training.log)


def _optimizers(
    model: BlipForConditionalGeneration, labeler: torch.nn.Linear
) -> tuple[torch.optim.Muon, torch.optim.AdamW]:
    """Muon for the matrices of the layers, AdamW for all else: a kind is learned from half as many pictures.

    Source: J. Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982 (whose updates are as large as AdamW's).
    """
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in _named_parameters(model, labeler):
        in_layer = ".layers." in name or ".layer." in name
        (matrices if in_layer and parameter.ndim == 2 else others).append(parameter)
    muon = torch.optim.Muon(matrices, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    return muon, torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.02, fused=True)


def _train_phase(training: Training, processor: BlipProcessor, settings: DemoTraining) -> Iterator[float]:
    """Trains to the phase's end and yields each step's loss."""
    phase = settings.phases[training.phase]
    for pixels, captions, labels in _batches(training, settings):
        for optimizer, share in zip(training.optimizers, (1.0, ADAMW_SHARE), strict=True):
            optimizer.param_groups[0]["lr"] = share * _learning_rate(phase, training.step)
        dice = torch.Generator().manual_seed(_seeds(training, settings).start)
        loss = _training_step(training, processor, pixels, captions, labels, dice)
        training.step += 1
        yield loss


def _learning_rate(phase: TrainingPhase, step: int) -> float:
    warm_up = min(WARM_UP, phase.steps // 10)
    if step < warm_up:
        return phase.learning_rate * (step + 1) / warm_up
    share = (step - warm_up) / (phase.steps - warm_up)
    return phase.learning_rate * (0.5 * (1 + math.cos(math.pi * share)) + 1e-3)


def _steps_before(settings: DemoTraining, phase: int) -> int:
    return [0, *accumulate(phase.steps for phase in settings.phases)][phase]


def _seeds(training: Training, settings: DemoTraining) -> range:
    """Of the scenes that are left of the phase: no two steps have one in common, whatever the phases."""
    before = settings.seed * 100_000_000 + _steps_before(settings, training.phase) * settings.batch_size
    end = before + settings.phases[training.phase].steps * settings.batch_size
    return range(before + training.step * settings.batch_size, end)


def _batches(training: Training, settings: DemoTraining) -> Iterator[tuple[torch.Tensor, list[str], torch.Tensor]]:
    scenes = DrawnScenes(_seeds(training, settings), settings.phases[training.phase].side)
    if not len(scenes):
        return
    loader = DataLoader(scenes, batch_size=settings.batch_size, num_workers=1, prefetch_factor=4)
    for pixels, captions, labels in loader:
        yield pixels, list(captions), labels


def _training_step(
    training: Training,
    processor: BlipProcessor,
    pixels: torch.Tensor,
    captions: list[str],
    labels_of_patches: torch.Tensor,
    dice: torch.Generator,
) -> float:
    """Makes a step and returns the loss of the captions alone."""
    model = training.model
    tokens = processor.tokenizer(captions, padding=True, return_tensors="pt")
    input_ids = tokens["input_ids"]
    input_ids[:, 0] = model.config.text_config.bos_token_id
    labels = input_ids.masked_fill(tokens["attention_mask"] == 0, -100)
    dropped = torch.rand(input_ids.shape, generator=dice) < WORD_DROPOUT
    dropped[:, 0] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(
            pixel_values=_normalize(pixels, processor.image_processor),
            input_ids=input_ids.masked_fill(dropped, processor.tokenizer.mask_token_id),
            attention_mask=tokens["attention_mask"],
            labels=labels,
        )
        scores = training.labeler(output.last_hidden_state[:, 1:])
    split = scores.float().flatten(0, 1).split([len(values) for values in LABELS.values()], dim=-1)
    seen = labels_of_patches.flatten(0, 1).unbind(-1)
    labeling = sum(
        cross_entropy(own, values, weight=_weights(name)) for name, own, values in zip(LABELS, split, seen, strict=True)
    )
    for optimizer in training.optimizers:
        optimizer.zero_grad()
    (output.loss + labeling).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in training.optimizers:
        optimizer.step()
    return float(output.loss.item())


def _weights(label: str) -> torch.Tensor:
    """Of a label's values: most patches show no thing, which is soon learned."""
    weights = torch.ones(len(LABELS[label]))
    if label == "kind":
        weights[0] = 0.2
    return weights


def _normalize(pixels: torch.Tensor, image_processor: BlipImageProcessorPil) -> torch.Tensor:
    """(batch, height, width, 3) uint8 to what the image processor gives: (batch, 3, height, width) float32."""
    mean, std = torch.tensor(image_processor.image_mean), torch.tensor(image_processor.image_std)
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


# What it has learned


def _log(training: Training, processor: BlipProcessor, settings: DemoTraining, validation_scenes: int) -> None:
    side = settings.phases[training.phase].side
    accuracy = held_out_accuracy(training.model, processor, side, validation_scenes)
    loss = sum(training.losses) / len(training.losses)
    step = _steps_before(settings, training.phase) + training.step
    training.log.append({"step": step, "side": side, "loss": loss, "held_out_accuracy": accuracy})
    training.losses.clear()


@torch.no_grad()
def held_out_accuracy(model: BlipForConditionalGeneration, processor: BlipProcessor, side: int, scenes: int) -> float:
    """The share of that many held-out scenes whose greedy caption is right."""
    model.eval()
    right = 0
    seeds = range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + scenes)
    for first in range(0, scenes, VALIDATION_BATCH):
        own = [(compose(seed, "held_out"), seed) for seed in seeds[first : first + VALIDATION_BATCH]]
        pixels = np.stack([np.array(_of_side(draw(scene, seed), side)) for scene, seed in own])
        inputs = _normalize(torch.from_numpy(pixels), processor.image_processor)
        output = model.generate(pixel_values=inputs, max_new_tokens=LONGEST_CAPTION - 2)
        captions = processor.batch_decode(output, skip_special_tokens=True)
        right += sum(is_right(caption.strip(), scene) for caption, (scene, _) in zip(captions, own, strict=True))
    model.train()
    return right / scenes


# Files


def _save(model: BlipForConditionalGeneration, processor: BlipProcessor, output: Path) -> None:
    processor.tokenizer.save_pretrained(output)
    processor.image_processor.save_pretrained(output)
    model.config.save_pretrained(output)
    tied = set(model.all_tied_weights_keys)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})


def _save_state(training: Training, path: Path, settings: DemoTraining) -> None:
    position = {"phase": training.phase, "step": training.step, "losses": training.losses, "log": training.log}
    metadata = {"settings": settings.model_dump_json(), "position": json.dumps(position)}
    parameters = dict(_named_parameters(training.model, training.labeler))
    save_state(path, parameters, training.optimizers, metadata)


def _load(path: Path, settings: DemoTraining, processor: BlipProcessor) -> Training | None:
    """The training that the file holds, or nothing if there is none. Raises InputError if it is another training's."""
    if not (found := read_state(path)):
        return None
    metadata, tensors = found
    position = json.loads(metadata["position"])
    if not _goes_on(DemoTraining.model_validate_json(metadata["settings"]), settings, position["phase"]):
        raise InputError(
            f"{path} is of a training with other settings: delete it, or restore demo_training in params.yaml"
        )
    model = build_model(processor.tokenizer, settings.phases[position["phase"]].side)
    labeler = _build_labeler(model)
    optimizers = _optimizers(model, labeler)
    restore_state(tensors, dict(_named_parameters(model, labeler)), optimizers)
    return Training(model, labeler, optimizers, **position)


def _named_parameters(
    model: BlipForConditionalGeneration, labeler: torch.nn.Linear
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    yield from model.named_parameters()
    yield from labeler.named_parameters("labeler")


def _goes_on(before: DemoTraining, now: DemoTraining, phase: int) -> bool:
    """Whether what was done so far would be done in the same way now; phases to come may be others."""
    same = (before.batch_size, before.seed) == (now.batch_size, now.seed)
    return same and before.phases[: phase + 1] == now.phases[: phase + 1]


def main(
    progress: Annotated[Path, typer.Option(help="folder to keep the training's state in, to go on from")] = PROGRESS,
) -> None:
    """Trains into a temporary folder and puts it in the place of `data/demo` once it is whole.

    The state is then kept under another name, so that the next training begins anew; under its own it goes on, if
    params.yaml has further phases.
    """
    with replacing(OUTPUT) as unfinished:
        train(read_params().demo_training, unfinished, progress)
    (progress / STATE).rename(progress / FINISHED)


if __name__ == "__main__":
    run(main)
