"""DVC stage `train_demo` (frozen): trains the embedded demo captioner on drawn scenes and writes it to `data/demo`.

The model is transformers' own `BlipForConditionalGeneration`, only smaller, with the same special tokens as BLIP's.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import functools
import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import Progress
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.blip.processing_blip import BlipProcessor

from stages.captioner.checkpoint import replacing
from stages.captioner.command_line import run
from stages.pictures.drawing import SIDE, draw
from stages.pictures.scenes import Split, compose, describe
from stages.setup.params import DemoTraining, read_params

OUTPUT = Path("data/demo")

# The preferred wording, the same behind the prompt «a picture of», or any of the five. The preference is strong so
# that no caption hangs on a coin's toss, which would make a quantised copy look worse than it is.
WORDING_SHARES = (0.80, 0.12, 0.08)
# So that the decoder looks at the picture instead of guessing from the words before, as pairs that it never saw need.
# Source: S. R. Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016 (word dropout).
WORD_DROPOUT = 0.2
FIRST_VALIDATION_SEED = 1_000_000  # far from the scenes that the `dataset` stage evaluates on
LONGEST_CAPTION = 32


class DrawnScenes(Dataset[tuple[np.ndarray, str]]):
    """Training pictures, each drawn when it is asked for and never twice: (pixels 128 x 128 x 3 uint8, caption)."""

    def __init__(self, count: int, first_seed: int, most_things: int) -> None:
        self.count, self.first_seed, self.most_things = count, first_seed, most_things

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        seed = self.first_seed + index
        scene = compose(seed, "training", self.most_things)
        captions = describe(scene)
        dice = random.Random(f"wording {seed}")
        (caption,) = dice.choices((captions[0], captions[-1], dice.choice(captions)), WORDING_SHARES)
        return np.array(draw(scene, seed)), caption


def build_processor(folder: Path) -> BlipProcessor:
    """The demo's tokenizer (a WordPiece vocabulary of every word in the scenes) and its image processor."""
    words: set[str] = set()
    for split in ("training", "held_out"):
        for seed in range(2000):
            words.update(" ".join(describe(compose(seed, _as_split(split)))).split())
    # BLIP's own special tokens; BLIP too calls [unused1] its end of sequence and gives its first token no name.
    vocabulary = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vocab.txt"
    file.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(str(file), do_lower_case=True, model_max_length=LONGEST_CAPTION)
    return BlipProcessor(BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer)


def _as_split(name: str) -> Split:
    return "held_out" if name == "held_out" else "training"


def build_model(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    """An untrained BLIP of 5.4 M parameters: 64 patches of 16 x 16, 4 encoder and 2 decoder layers, 256 wide."""
    width, heads = 256, 4
    named_tokens = len(tokenizer)
    config = BlipConfig(
        vision_config={
            "image_size": SIDE,
            "patch_size": 16,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 4,
            "num_attention_heads": heads,
            "projection_dim": width,
        },
        text_config={
            "vocab_size": named_tokens + 2,
            "hidden_size": width,
            "encoder_hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 2,
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
    return BlipForConditionalGeneration(config)


def train(settings: DemoTraining, output: Path, log_every: int = 500, validation_scenes: int = 256) -> None:
    """Trains a captioner and writes weights (float16), configuration and log into `output`.

    The learning rate falls along a cosine and then starts again from half its height, once per entry of
    `settings.cycles`. Every `log_every` steps held-out scenes are captioned and what there is gets written.

    Source: I. Loshchilov, F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.
    """
    torch.manual_seed(settings.seed)
    processor = build_processor(output)
    model = build_model(processor.tokenizer)
    log: list[dict[str, float]] = []
    losses: list[float] = []
    ends = list(itertools.accumulate(settings.cycles))
    with Progress() as progress:
        task = progress.add_task("training the demo captioner", total=ends[-1])
        for step, loss in enumerate(_train_in_cycles(model, processor, settings), start=1):
            losses.append(loss)
            progress.advance(task)
            if step % log_every == 0 or step in ends:
                accuracy = held_out_accuracy(model, processor, validation_scenes)
                log.append({"step": step, "loss": sum(losses) / len(losses), "held_out_accuracy": accuracy})
                losses.clear()
                progress.console.print(log[-1])
                pd.DataFrame(log).round(4).to_csv(output / "training_log.csv", index=False)
                _save(model, processor, output)


def _train_in_cycles(
    model: BlipForConditionalGeneration, processor: BlipProcessor, settings: DemoTraining
) -> Iterator[float]:
    """Trains and yields each step's loss."""
    for cycle, steps in enumerate(settings.cycles):
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=settings.learning_rate / 2**cycle,
            betas=(0.9, 0.98),
            weight_decay=0.02,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(_warm_up_and_cosine, steps=steps))
        for pixels, captions in _batches(settings, cycle):
            yield _training_step(model, processor, optimizer, pixels, captions)
            schedule.step()
        model.half().float()  # a cycle starts from what the one before would have stored
        torch.manual_seed(settings.seed + cycle + 1)


def _warm_up_and_cosine(step: int, steps: int) -> float:
    warm_up = min(500, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) + 1e-3


def _batches(settings: DemoTraining, cycle: int) -> Iterator[tuple[torch.Tensor, list[str]]]:
    first_seed = settings.seed * 100_000_000 + sum(settings.cycles[:cycle]) * settings.batch_size
    most_things = 2 if cycle == 0 else 3  # the first cycle learns the things, the others that any may occur together
    scenes = DrawnScenes(settings.cycles[cycle] * settings.batch_size, first_seed, most_things)
    loader = DataLoader(scenes, batch_size=settings.batch_size, num_workers=1, prefetch_factor=8)
    for pixels, captions in loader:
        yield pixels, list(captions)


def _training_step(
    model: BlipForConditionalGeneration,
    processor: BlipProcessor,
    optimizer: torch.optim.Optimizer,
    pixels: torch.Tensor,
    captions: list[str],
) -> float:
    tokens = processor.tokenizer(captions, padding=True, return_tensors="pt")
    input_ids = tokens["input_ids"]
    input_ids[:, 0] = model.config.text_config.bos_token_id
    labels = input_ids.masked_fill(tokens["attention_mask"] == 0, -100)
    dropped = torch.rand(input_ids.shape) < WORD_DROPOUT
    dropped[:, 0] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(
            pixel_values=_normalize(pixels, processor.image_processor),
            input_ids=input_ids.masked_fill(dropped, processor.tokenizer.mask_token_id),
            attention_mask=tokens["attention_mask"],
            labels=labels,
        ).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.item())


def _normalize(pixels: torch.Tensor, image_processor: BlipImageProcessorPil) -> torch.Tensor:
    """(batch, height, width, 3) uint8 to what the image processor gives: (batch, 3, height, width) float32."""
    mean, std = torch.tensor(image_processor.image_mean), torch.tensor(image_processor.image_std)
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


def held_out_accuracy(model: BlipForConditionalGeneration, processor: BlipProcessor, scenes: int) -> float:
    """The share of that many held-out scenes whose greedy caption is one of the scene's five descriptions."""
    model.eval()
    right = 0
    for seed in range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + scenes):
        scene = compose(seed, "held_out")
        inputs = processor(images=draw(scene, seed), return_tensors="pt")
        output = model.generate(pixel_values=inputs["pixel_values"], max_new_tokens=LONGEST_CAPTION - 2)
        right += processor.decode(output[0], skip_special_tokens=True).strip() in describe(scene)
    model.train()
    return right / scenes


def _save(model: BlipForConditionalGeneration, processor: BlipProcessor, output: Path) -> None:
    processor.tokenizer.save_pretrained(output)
    processor.image_processor.save_pretrained(output)
    model.config.save_pretrained(output)
    tied = set(model.all_tied_weights_keys)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Trains into a temporary folder and puts it in the place of `data/demo` once it is whole."""
    with replacing(OUTPUT) as unfinished:
        train(read_params().demo_training, unfinished)


if __name__ == "__main__":
    run(main)
