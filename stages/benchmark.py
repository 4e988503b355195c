"""DVC stages `benchmark_baseline` and `benchmark@<variant>`: times a checkpoint against the baseline, in turns.

`benchmark_baseline` times the baseline against itself: what it finds is noise, and its interval must contain 1.
"""

import itertools
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import ArrayLike
from rich.progress import track

from stages.captioner.checkpoint import BASELINE, MODELS, checkpoint_bytes, read_manifest
from stages.captioner.command_line import run
from stages.captioner.runtimes.decoding import Decoding
from stages.records.examples import EVALUATION
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, read_metrics, write_metrics
from stages.records.provenance import KEY, of_times, of_what
from stages.setup.params import Benchmark, Model, read_params
from stages.timing.products import count_products
from stages.timing.roofline import Peaks, compare_with_limits
from stages.timing.statistics import between_runs, estimate_over_sessions, estimate_speedup, fit_slope, sessions_of
from stages.timing.turns import (
    Request,
    Worker,
    caption_request,
    check,
    decoding_to_time,
    parts_request,
    pictures_to_time,
    started,
    take_turns,
)

LENGTHS = 4  # how many numbers of tokens the line for the time per token goes through
Row = tuple[str, int | None, float, float]


def benchmark(
    checkpoint: Path, baseline: Path, images: list[Path], decoding: Decoding, settings: Benchmark, model: Model
) -> pd.DataFrame:
    """Times a checkpoint and the baseline in turns, in sessions with fresh processes, until the speed-up is known well
    enough for this model or the time is over.

    Two runs of the same program differ a little for as long as they last, by how their memory happens to lie; only
    fresh processes average that out.

    Returns one row per pair with the columns session, measurement, tokens, baseline and checkpoint: `start` (process
    start to first caption), `caption` (one picture), its parts `preprocess`, `encode` and `decode` (so many new
    tokens), and `batch` (several pictures at once) in seconds, `memory` (peak at one picture) in bytes, without
    a row where the system doesn't tell it.
    """
    start = time.perf_counter()
    tables: list[pd.DataFrame] = []
    for number in track(itertools.count(), description=f"timing {checkpoint.name}", auto_refresh=False):
        tables.append(_run_session(number, checkpoint, baseline, images, decoding, settings))
        samples = pd.concat(tables, ignore_index=True)
        if enough(sessions_of(samples, "caption")["speedup"], settings, model, time.perf_counter() - start):
            break
    return samples


def enough(speedups: ArrayLike, settings: Benchmark, model: Model, seconds: float) -> bool:
    """Whether the sessions' speed-ups, which took so many seconds, tell the run's as well as they are to."""
    if np.size(speedups) < settings.sessions:
        return False
    return seconds >= model.benchmark_seconds or estimate_over_sessions(speedups).width() <= model.speedup_within


def _run_session(
    number: int, checkpoint: Path, baseline: Path, images: list[Path], decoding: Decoding, settings: Benchmark
) -> pd.DataFrame:
    with ExitStack() as stack:
        turn = 1 if number % 2 == 0 else -1  # who starts first changes from session to session
        request = caption_request(images[:1], decoding)
        opened = [_time_start(path, settings.threads, request, stack) for path in (baseline, checkpoint)[::turn]]
        (first, first_start), (second, second_start) = opened[::turn]
        if number == 0:
            for worker in (first, second):
                check(worker, images[0], decoding)
        rows = time_pair(number, (first, second), images, decoding, settings)
    table = pd.DataFrame(
        [("start", None, first_start, second_start), *rows], columns=["measurement", "tokens", "baseline", "checkpoint"]
    )
    return table.astype({"tokens": "Int64"}).assign(session=number)


def time_pair(
    number: int, pair: tuple[Worker, Worker], images: list[Path], decoding: Decoding, settings: Benchmark
) -> list[Row]:
    """What a session times once both workers are warm, the baseline's first. Captions come first; their parts are timed
    in the sessions that there always are, batches in one."""
    singles = [caption_request([image], decoding) for image in images]
    lengths = token_counts(decoding, settings.new_tokens)
    parts = [parts_request(image, decoding, lengths) for image in images]
    batch = caption_request([images[index % len(images)] for index in range(settings.throughput_batch)], decoding)
    captions = take_turns(pair, singles, settings.rounds, settings.seconds)
    rows: list[Row] = [("caption", None, a["seconds"], b["seconds"]) for a, b in captions]
    memory = [worker.ask({"do": "memory"})["peak_memory_bytes"] for worker in pair]
    if None not in memory:
        rows.append(("memory", None, memory[0], memory[1]))
    if number < settings.sessions:
        for a, b in take_turns(pair, parts, 2, settings.seconds / 4):
            rows += [(part, None, a[part], b[part]) for part in ("preprocess", "encode")]
            rows += [("decode", *row) for row in zip(lengths, a["decode"], b["decode"], strict=True)]
    if number == 0:
        batches = take_turns(pair, [batch], 1, settings.seconds / 4)
        rows += [("batch", None, a["seconds"], b["seconds"]) for a, b in batches]
    return rows


def token_counts(decoding: Decoding, new_tokens: int) -> list[int]:
    """The numbers of new tokens to time: from 1 to as many as captions may have, or to twice `new_tokens` if less."""
    longest = min(decoding.max_new_tokens, 2 * new_tokens)
    return sorted({round(float(tokens)) for tokens in np.linspace(1, longest, LENGTHS)})


def usual_length(samples: pd.DataFrame) -> int:
    """The number of the token in the middle of those that the time per token is of."""
    return max(2, round((2 + float(samples["tokens"].max())) / 2))


def _time_start(checkpoint: Path, threads: int, request: Request, stack: ExitStack) -> tuple[Worker, float]:
    """A worker that ends with the stack, and the seconds from its process's start to its first answer.

    At most one other worker is alive meanwhile, and waits.
    """
    start = time.perf_counter()
    worker = stack.enter_context(started(checkpoint, threads))
    worker.ask(request)
    return worker, time.perf_counter() - start


def summarize(samples: pd.DataFrame, throughput_batch: int, speedup_within: float) -> dict[str, float | int | str]:
    """The figures of a table that `benchmark` made: those of each session, over sessions, with 95 % intervals.

    A session's figure is what is typical of its pairs, and its speed-up what is typical of their ratios. `prefill` is
    decoding one token; `token`, each further one, is the slope of decoding's times over its lengths, and absent where
    noise hides that in a session. An interval is absent for what one session timed.
    """
    captions, sessions = samples[samples["measurement"] == "caption"], sessions_of(samples, "caption")
    width = estimate_over_sessions(sessions["speedup"]).width()
    figures: dict[str, float | int | str] = {
        "pairs": len(captions),
        "sessions": len(sessions),
        "speedup_width": round(width, 3),
        "ended": "interval reached" if width <= speedup_within else "time over",
        **_entries("speedup", sessions["speedup"]),
        "latency_p90_ms": round(float(captions["checkpoint"].quantile(0.9)) * 1e3, 3),
        **_entries("latency_ms", sessions["checkpoint"] * 1e3),
        "baseline_latency_ms": _entries("latency", sessions["baseline"] * 1e3)["latency"],
    }
    figures["speedup_between_runs"] = round(between_runs(float(figures["speedup"])), 3)
    parts = {part: sessions_of(samples, part) for part in ("preprocess", "encode")}
    parts |= {"prefill": sessions_of(samples[samples["tokens"] == 1], "decode"), "token": _slopes(samples)}
    for part, sessions in parts.items():
        figures |= _entries(f"{part}_ms", sessions["checkpoint"] * 1e3)
        figures |= _entries(f"{part}_speedup", sessions["speedup"])
    batches, starts, memory = (sessions_of(samples, name) for name in ("batch", "start", "memory"))
    figures |= _entries("throughput_images_per_s", throughput_batch / batches["checkpoint"])
    figures |= _entries("throughput_speedup", batches["speedup"])
    figures |= _entries("load_s", starts["checkpoint"], 2) | _entries("load_speedup", starts["speedup"], 2)
    if not memory.empty:
        peak = memory.median()
        figures["peak_memory_mb"] = round(peak["checkpoint"] / 1e6, 1)
        figures["peak_memory_share"] = round(peak["checkpoint"] / peak["baseline"], 3)
    return figures


def _slopes(samples: pd.DataFrame) -> pd.DataFrame:
    """The same for each further token, by the slopes of each session's decoding; NaN where noise hides one."""
    rows = samples[samples["measurement"] == "decode"]
    slopes = {
        side: [fit_slope(list(own["tokens"]), list(own[side])) for _, own in rows.groupby("session")]
        for side in ("baseline", "checkpoint")
    }
    sessions = pd.DataFrame(slopes)
    return sessions.assign(speedup=sessions["baseline"] / sessions["checkpoint"])


def _entries(name: str, sessions: pd.Series, digits: int = 3) -> dict[str, float]:
    if sessions.isna().any():
        return {}
    if len(sessions) == 1:
        return {name: round(float(sessions.iloc[0]), digits)}
    estimate = estimate_speedup if name.endswith("speedup") else estimate_over_sessions
    return estimate(sessions).entries(name, digits)


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml, or baseline")]) -> None:
    """Writes reports/benchmark/VARIANT.json, and VARIANT.csv with every pair."""
    params = read_params()
    settings, model, checkpoint = params.benchmark, params.chosen_model(), MODELS / variant
    manifest = read_manifest(checkpoint)
    samples = benchmark(checkpoint, BASELINE, pictures_to_time(params), decoding_to_time(params), settings, model)
    figures = summarize(samples, settings.throughput_batch, model.speedup_within)
    figures["checkpoint_mb"] = round(checkpoint_bytes(checkpoint) / 1e6, 2)
    peaks = read_metrics(REPORTS / "peaks.json")
    del peaks[KEY]
    products = count_products(checkpoint, usual_length(samples))
    figures |= compare_with_limits(figures, products, Peaks(**peaks), settings.new_tokens)
    what = of_what(params.model, BASELINE, EVALUATION)
    own = of_times(params, manifest.recipe, what, describe_machine())
    write_metrics({**figures, KEY: own.model_dump(exclude_none=True)}, REPORTS / "benchmark" / f"{variant}.json")
    samples.to_csv(REPORTS / "benchmark" / f"{variant}.csv", index=False, float_format="%.9g")


if __name__ == "__main__":
    run(main)
