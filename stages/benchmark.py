"""DVC stages `benchmark_baseline` and `benchmark@<variant>`: times a checkpoint against the baseline, in turns.

`benchmark_baseline` times the baseline against itself: what it finds is noise, and its interval must contain 1.
"""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.progress import track

from stages.captioner.checkpoint import BASELINE, MODELS, checkpoint_bytes, read_manifest
from stages.captioner.command_line import run
from stages.captioner.runtimes.decoding import Decoding
from stages.measure.metrics import REPORTS, read_metrics, write_metrics
from stages.measure.roofline import Peaks, Precision, arithmetic, shortest_seconds
from stages.measure.statistics import Estimate, estimate_median
from stages.measure.timing import Answer, Request, Worker, caption_request, parts_request, started, take_turns
from stages.params import Benchmark, read_params
from stages.pictures.examples import EVALUATION, read_examples

PARTS = ("preprocess", "encode", "prefill", "token")
Pair = tuple[Answer, Answer]


def benchmark(
    checkpoint: Path, baseline: Path, images: list[Path], decoding: Decoding, settings: Benchmark, sessions: int
) -> pd.DataFrame:
    """Times a checkpoint and the baseline in turns, in several sessions with fresh processes.

    Two runs of the same program differ a little for as long as they last, by how their memory happens to lie; only
    fresh processes average that out.

    Returns one row per pair with the columns session, measurement, baseline and checkpoint: `start` (process start to
    first caption), `caption` (one picture), its parts `preprocess`, `encode`, `prefill` and `token`, and `batch`
    (several pictures at once) in seconds, `memory` (peak at one picture) in bytes.
    """
    tables = [
        # Captions are what the comparison is about, so only half of the sessions time more than them.
        _run_session(number, checkpoint, baseline, images, decoding, settings, captions_only=number >= sessions / 2)
        for number in track(range(sessions), description=f"timing {checkpoint.name}")
    ]
    return pd.concat(tables, ignore_index=True)


def _run_session(
    number: int,
    checkpoint: Path,
    baseline: Path,
    images: list[Path],
    decoding: Decoding,
    settings: Benchmark,
    *,
    captions_only: bool,
) -> pd.DataFrame:
    singles = [caption_request([image], decoding) for image in images]
    parts = [parts_request(image, decoding, settings.new_tokens) for image in images]
    batch = caption_request([images[index % len(images)] for index in range(settings.throughput_batch)], decoding)
    with ExitStack() as stack:
        turn = 1 if number % 2 == 0 else -1  # who starts first changes from session to session
        opened = [_time_start(path, settings.threads, singles[0], stack) for path in (baseline, checkpoint)[::turn]]
        (first, first_start), (second, second_start) = opened[::turn]

        def timed(requests: list[Request], rounds: int = settings.rounds) -> list[Pair]:
            return list(take_turns((first, second), requests, rounds, settings.seconds))

        rows = [("start", first_start, second_start)]
        rows += [("caption", a["seconds"], b["seconds"]) for a, b in timed(singles)]
        memory = [worker.ask({"do": "memory"})["peak_memory_bytes"] for worker in (first, second)]
        rows.append(("memory", memory[0], memory[1]))
        if not captions_only:
            rows += [(part, a[part], b[part]) for a, b in timed(parts, 1) for part in PARTS]
            rows += [("batch", a["seconds"], b["seconds"]) for a, b in timed([batch], 1)]
    return pd.DataFrame(rows, columns=["measurement", "baseline", "checkpoint"]).assign(session=number)


def _time_start(checkpoint: Path, threads: int, request: Request, stack: ExitStack) -> tuple[Worker, float]:
    """A worker that ends with the stack, and the seconds from its process's start to its first answer.

    At most one other worker is alive meanwhile, and waits.
    """
    start = time.perf_counter()
    worker = stack.enter_context(started(checkpoint, threads))
    worker.ask(request)
    return worker, time.perf_counter() - start


def summarize(samples: pd.DataFrame, settings: Benchmark) -> dict[str, float | int]:
    """The figures of a table that `benchmark` made: medians, and speed-ups (medians of the pairs' ratios) with their
    95 % intervals.
    """
    by_measurement = {str(name): rows for name, rows in samples.groupby("measurement", sort=False)}
    figures: dict[str, float | int] = {"pairs": len(by_measurement["caption"])}
    for measurement, name in (("caption", "latency"), *((part, part) for part in PARTS)):
        rows = by_measurement[measurement]
        own = _median(rows["checkpoint"] * 1e3, rows, settings)
        figures |= own.entries(f"{name}_ms", 3)
        figures |= _speedup(rows, settings).entries("speedup" if name == "latency" else f"{name}_speedup", 3)
    latencies = by_measurement["caption"]
    figures["latency_p90_ms"] = round(float(latencies["checkpoint"].quantile(0.9)) * 1e3, 3)
    figures["baseline_latency_ms"] = round(float(latencies["baseline"].median()) * 1e3, 3)
    batch = by_measurement["batch"]
    rates = _median(settings.throughput_batch / batch["checkpoint"], batch, settings)
    figures |= rates.entries("throughput_images_per_s", 3)
    figures |= _speedup(batch, settings).entries("throughput_speedup", 3)
    start = by_measurement["start"]
    figures["load_s"] = round(float(start["checkpoint"].median()), 2)
    figures["load_speedup"] = round(float((start["baseline"] / start["checkpoint"]).median()), 2)
    memory = by_measurement["memory"][["baseline", "checkpoint"]].median()
    figures["peak_memory_mb"] = round(memory["checkpoint"] / 1e6, 1)
    figures["peak_memory_share"] = round(memory["checkpoint"] / memory["baseline"], 3)
    return figures


def compare_with_roofline(
    figures: dict[str, float | int], checkpoint: Path, peaks: Peaks, new_tokens: int
) -> dict[str, float | int]:
    """The least time that the machine's peaks allow for so many tokens, and its share of the measured time.

    The share is absent where it would be above 1: then the machine was slower while its peaks were taken.
    """
    manifest = read_manifest(checkpoint)
    work = arithmetic(json.loads((checkpoint / "config.json").read_text(encoding="utf-8")))
    linear: Precision = "int8" if "quantize" in manifest.recipe else "float32"
    half = linear == "int8" and manifest.runtime == "openvino" and "bfloat16" in peaks.gops
    shortest = shortest_seconds(work, peaks, new_tokens, linear, "bfloat16" if half else "float32") * 1e3
    measured = figures["encode_ms"] + figures["prefill_ms"] + (new_tokens - 1) * figures["token_ms"]
    share = round(shortest / measured, 3)
    return {"roofline_ms": round(shortest, 3)} | ({"roofline_share": share} if share <= 1 else {})


def _speedup(rows: pd.DataFrame, settings: Benchmark) -> Estimate:
    return _median(rows["baseline"] / rows["checkpoint"], rows, settings)


def _median(values: pd.Series, rows: pd.DataFrame, settings: Benchmark) -> Estimate:
    return estimate_median(list(values), list(rows["session"]), settings.bootstrap_samples)


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml, or baseline")]) -> None:
    """Writes reports/benchmark/VARIANT.json, and VARIANT.csv with every pair."""
    params = read_params()
    settings, decoding = params.benchmark, params.decoding
    checkpoint = MODELS / variant
    if not read_manifest(BASELINE).trained:  # untrained captions end where they like
        decoding = decoding.exactly(settings.new_tokens)
    images = [path for path, _ in read_examples(EVALUATION)][: settings.images]
    samples = benchmark(checkpoint, BASELINE, images, decoding, settings, params.chosen_model().sessions)
    figures = summarize(samples, settings) | {"checkpoint_mb": round(checkpoint_bytes(checkpoint) / 1e6, 2)}
    peaks = Peaks(**read_metrics(REPORTS / "peaks.json"))
    figures |= compare_with_roofline(figures, checkpoint, peaks, settings.new_tokens)
    write_metrics(figures, REPORTS / "benchmark" / f"{variant}.json")
    samples.to_csv(REPORTS / "benchmark" / f"{variant}.csv", index=False, float_format="%.9g")


if __name__ == "__main__":
    run(main)
