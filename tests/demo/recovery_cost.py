"""What a short distillation takes at BLIP-base's full size: `python -m tests.demo.recovery_cost` prints the seconds of
a step and the most memory, for each part that may learn, as the table of reports/README.md. Of random weights, uncut,
so that a model that was cut takes less. Wants a quiet machine, five minutes and 10 GB of memory.
"""

import copy
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich import print

from stages.captioner.command_line import run
from stages.passes.recover import BATCH, Lesson, apply
from stages.records.machine import describe_machine, name_machine
from stages.setup.params import Recover, UntrainedSource
from stages.setup.process import end_with_parent
from stages.sources.model import build_untrained
from stages.timing.worker import peak_memory_bytes

FEW, MORE = 2, 12  # steps: what is done once, such as what the baseline says, takes both runs the same time
PARTS = get_args(Recover.model_fields["part"].annotation)


def seconds(steps: int, part: Any, model: Any, pixels: list[np.ndarray]) -> float:
    """How long a model takes to learn from itself for so many steps, on pictures of float32 (1, 3, side, side)."""
    student = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        lesson = Lesson(model, pixels, [], Path(folder) / "state.safetensors")
        started = time.perf_counter()
        apply(student, Recover(steps=steps, part=part), lesson, pixels)
        return time.perf_counter() - started


def cost(part: str) -> tuple[float, int | None]:
    """Seconds of a step, and the most memory in bytes, of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model = build_untrained(UntrainedSource(untrained="blip-base", seed=0), Path(folder)).eval()
    model.requires_grad_(False)
    side = model.config.vision_config.image_size
    dice = np.random.default_rng(0)
    pixels = [dice.standard_normal((1, 3, side, side), dtype=np.float32) for _ in range(BATCH)]
    few, more = (seconds(steps, part, model, pixels) for steps in (FEW, MORE))
    return (more - few) / (MORE - FEW), peak_memory_bytes()


def main() -> None:
    """Prints the table."""
    print(f"{BATCH} pictures a step, {name_machine(describe_machine())}\n")
    print("| what learns | a step | 1,000 steps | memory at its peak |\n|---|---|---|---|")
    for part in PARTS:
        with multiprocessing.get_context("spawn").Pool(1, end_with_parent) as pool:  # whose peak is that of one part
            step, peak = pool.apply(cost, (part,))
        memory = "unknown" if peak is None else f"{peak / 1e9:.1f} GB"
        print(f"| {part} | {step:.1f} s | {step * 1000 / 60:.0f} min | {memory} |", flush=True)


if __name__ == "__main__":
    run(main)
