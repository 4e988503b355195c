"""How fast kernels for weights that are partly zero are, at BLIP-base's full size: `make sparse`.

Each kernel takes turns with dense float32 and dense int8 in one process; a session makes all weights and all that
kernels make of them anew.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from rich.progress import Progress

from stages.alternatives.sparse_chart import draw
from stages.alternatives.sparse_kernels import (
    DENSE_INT8,
    FLOAT,
    KERNELS,
    LAYERS,
    Form,
    Layer,
    Run,
    missing_kernels,
    to_form,
    with_zeros,
)
from stages.alternatives.sparse_page import ALL, PARTS, SPARSE, Part, Speed, Speeds, Zeros, write_page
from stages.captioner.command_line import InputError, run
from stages.captioner.runtimes.helpers import check_threads
from stages.records.estimate import Estimate
from stages.records.machine import caps_of, describe_machine, in_file_names, name_machine
from stages.records.metrics import write_metrics
from stages.setup.params import read_params
from stages.timing.statistics import estimate_speedup, typical
from stages.timing.turns import PAUSE_SECONDS

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
HALF = 0.5  # the share of zeros of 2:4
SESSIONS, ROUNDS = 4, 4
MOST = 1000.0  # times as fast: what an interval is cut off at, on a machine where it says nothing anyway
Samples = list[tuple[int, str, str, float]]  # round, layer, kernel, seconds


def measure(layers: Sequence[Layer], sessions: int, rounds: int, threads: int) -> pd.DataFrame:
    """Times all kernels at some layers: a row for each session, part, share of zeros, round, layer and kernel, with the
    seconds that all such layers of the model take for a picture or a word."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rows: list[tuple[Any, ...]] = []
    try:
        with Progress() as progress:
            task = progress.add_task("timing products", total=sessions * len(PARTS) * len(SHARES))
            for session in range(sessions):
                for part in PARTS:
                    own = [layer for layer in layers if layer.part == part]
                    for share, timed in _session(own, session, rounds, threads):
                        rows += [(session, part, share, *sample) for sample in timed]
                        progress.advance(task)
    finally:
        torch.set_num_threads(before)
    return pd.DataFrame(rows, columns=["session", "part", "share", "round", "layer", "kernel", "seconds"])


def _session(layers: Sequence[Layer], seed: int, rounds: int, threads: int) -> Iterator[tuple[float, Samples]]:
    """The samples at each share of zeros, of weights that are made for this session only."""
    dice = torch.Generator().manual_seed(seed)
    weights = [_weights(layer, dice) for layer in layers]
    states = [torch.randn(layer.rows, layer.inputs, generator=dice) for layer in layers]
    dense = _prepare("none", weights, states, 0.0, dice, threads)
    for share in SHARES:
        kernels = dense | _prepare("anywhere", weights, states, share, dice, threads)
        kernels |= _prepare("blocks", weights, states, share, dice, threads)
        if share == HALF:
            kernels |= _prepare("2:4", weights, states, share, dice, threads)
        yield share, list(_take_turns(kernels, layers, rounds))
        kernels.clear()  # before the next ones take as much memory


def _weights(layer: Layer, dice: torch.Generator) -> list[torch.Tensor]:
    return [torch.rand(layer.outputs, layer.inputs, generator=dice) - 0.5 for _ in range(layer.timed)]


def _prepare(
    zeros: Zeros,
    weights: Sequence[Sequence[torch.Tensor]],
    states: Sequence[torch.Tensor],
    share: float,
    dice: torch.Generator,
    threads: int,
) -> dict[str, list[Run]]:
    """The kernels for zeros that lie so, but for those that this machine lacks; for each layer its run."""
    missing = missing_kernels()
    kernels = {name: own for name, own in KERNELS.items() if own.zeros == zeros and name not in missing}
    prepared: dict[str, list[Run]] = {name: [] for name in kernels}
    for own, rows in zip(weights, states, strict=True):
        forms: dict[Form, list[torch.Tensor]] = {kernel.form: [] for kernel in kernels.values()}
        for weight in own:
            sparse = weight if zeros == "none" else with_zeros(weight, zeros, share, dice)
            for form, made in forms.items():
                made.append(to_form(sparse, form))
        for name, kernel in kernels.items():
            prepared[name].append(kernel.prepare(forms[kernel.form], rows, threads))
    return prepared


def _take_turns(
    kernels: Mapping[str, Sequence[Run]], layers: Sequence[Layer], rounds: int
) -> Iterator[tuple[int, str, str, float]]:
    """Round after round all kernels, whose order turns round; the first round is not counted."""
    for number in range(-1, rounds):
        for kernel in list(kernels) if number % 2 else reversed(list(kernels)):
            time.sleep(PAUSE_SECONDS)
            for layer, product in zip(layers, kernels[kernel], strict=True):
                start = time.perf_counter()
                product()
                seconds = (time.perf_counter() - start) * layer.copies / layer.timed
                if number >= 0:
                    yield number, layer.name, kernel, seconds


def figures(samples: pd.DataFrame) -> list[Speed]:
    """What the samples of `measure` say of each kernel, share of zeros and layer, and of all layers of a part."""
    keys = ["session", "part", "share", "round", "kernel"]
    together = samples.groupby(keys, as_index=False)["seconds"].sum().assign(layer=ALL)
    found: list[Speed] = []
    for (part, layer), own in pd.concat([together, samples]).groupby(["part", "layer"], sort=False):
        seconds = own.pivot(index=["session", "share", "round"], columns="kernel", values="seconds")
        int8 = min((name for name in DENSE_INT8 if name in seconds), key=lambda name: typical(seconds[name].tolist()))
        for kernel in (name for name in KERNELS if name in seconds):
            for share, rows in _by_share(seconds, kernel):
                found.append(_speed(part, layer, kernel, share, rows, int8))
    return found


def _by_share(seconds: pd.DataFrame, kernel: str) -> Iterator[tuple[float, pd.DataFrame]]:
    """The rows of a kernel by its share of zeros; those of a dense one all together."""
    if KERNELS[kernel].zeros == "none":
        yield 0.0, seconds
        return
    known = seconds.dropna(subset=kernel)
    for share in SHARES:
        if len(rows := known[known.index.get_level_values("share") == share]):
            yield share, rows


def _speed(part: Part, layer: str, kernel: str, share: float, rows: pd.DataFrame, int8: str) -> Speed:
    over_float, over_int8 = (_ratio(rows, dense, kernel) for dense in (FLOAT, int8))
    return Speed(
        part=part,
        layer=layer,
        kernel=kernel,
        label=KERNELS[kernel].label,
        zeros=KERNELS[kernel].zeros,
        share=share,
        ms=round(typical(rows[kernel].tolist()) * 1e3, 4),
        **over_float.entries("speedup", 4),
        **over_int8.entries("over_int8", 4),
    )


def _ratio(rows: pd.DataFrame, dense: str, kernel: str) -> Estimate:
    estimate = estimate_speedup((rows[dense] / rows[kernel]).groupby("session").agg(typical))
    return Estimate(*(min(max(end, 1 / MOST), MOST) for end in estimate))


def describe(samples: pd.DataFrame, threads: int, host: dict[str, Any]) -> Speeds:
    """All that is kept of a machine; `host` is what `describe_machine` says."""
    return Speeds(
        machine=name_machine(host),
        host=host,
        threads=threads,
        sessions=samples["session"].nunique(),
        rounds=samples["round"].nunique(),
        missing=missing_kernels(),
        speeds=figures(samples),
    )


def main() -> None:
    """Writes this machine's file and picture into reports/sparse, and the tables of reports/README.md."""
    if caps := caps_of(os.environ):
        raise InputError(
            f"{', '.join(caps)} would keep some kernels from instruction sets and not SciPy's and TVM's, which know "
            "no such variables: unset that"
        )
    threads = read_params().benchmark.threads
    check_threads("stages.alternatives.sparse_speed", "openvino", threads)
    own = describe(measure(LAYERS, SESSIONS, ROUNDS, threads), threads, describe_machine())
    path = SPARSE / f"{in_file_names(own.machine)}.json"
    draw(own, path.with_suffix(".png"))
    write_metrics(own.model_dump(mode="json", exclude_none=True), path)
    write_page()
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
