"""Times the captioners that people consider instead of BLIP-base, in turns with it: the part of `make rivals` that runs
in a clone, where BLIP's checkpoints have been made."""

import itertools
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich import print

from stages.captioner.checkpoint import BASELINE, MODELS, read_manifest
from stages.captioner.command_line import InputError, run
from stages.captioner.runtimes.decoding import Decoding
from stages.page.machines import SIZE
from stages.records.machine import caps_of, describe_machine
from stages.records.metrics import REPORTS, write_metrics
from stages.setup.params import read_params
from stages.timing.statistics import estimate_over_sessions, estimate_speedup, sessions_of
from stages.timing.turns import caption_request, decoding_to_time, pictures_to_time, started, take_turns

TIMES = REPORTS / "rivals.json"  # what is found, until it is kept under the machine's name
SESSIONS = 3  # with fresh processes; an interval from two is wide
SECONDS = 5.0  # of turns for each group in each session, and one round at least
INT8 = "_int8"  # what ends the name of a rival in int8
OWN = ("quantized", "openvino_int8", "fastest")  # variants to compare with
BLIP_LARGE = ("blip_large", f"blip_large{INT8}")
# One or several ways of looking at a picture, which a model has.
RIVALS = (("git_base",), ("vit_gpt2",), ("florence_2_base",), ("smolvlm_256m_whole", "smolvlm_256m"))


class Entrant(NamedTuple):
    """A process to time: the arguments that start it, and what its captions are called for each look."""

    command: list[str]
    names: tuple[str, ...]


class Group(NamedTuple):
    """What is in memory at the same time, beside the baseline, and takes turns with it. `looks` are the ways in which
    all of it looks at pictures, one after the other."""

    entrants: list[Entrant]
    looks: tuple[str, ...] = ("",)


def checkpoint(path: Path) -> Entrant:
    """A checkpoint, as the benchmark times it."""
    return Entrant(["stages.timing.worker", str(path)], (path.name,))


def rival(looks: tuple[str, ...], numbers: str) -> Entrant:
    """A captioner of `rival_models`, in `float32` or `int8`."""
    ending = INT8 if numbers == "int8" else ""
    return Entrant(["stages.alternatives.rival_worker", looks[0], numbers], tuple(f"{look}{ending}" for look in looks))


def groups() -> list[Group]:
    """All that is timed: BLIP's checkpoints, then each rival in both kinds of numbers."""
    blip = [Group([checkpoint(MODELS / name) for name in names]) for names in (OWN, BLIP_LARGE)]
    return blip + [Group([rival(looks, numbers) for numbers in ("float32", "int8")], looks) for looks in RIVALS]


def time_group(
    group: Group, baseline: Path, images: Sequence[Path], decoding: Decoding, threads: int, seconds: float
) -> pd.DataFrame:
    """Starts the processes of a group and of the baseline, and lets them take turns.

    Returns rows with the columns captioner, measurement, baseline and checkpoint: `caption` in seconds, `memory` (its
    peak) in bytes, without a row where the system doesn't tell it.
    """
    entrants = [Entrant(checkpoint(baseline).command, (BASELINE.name,) * len(group.looks)), *group.entrants]
    rows: list[tuple[str, str, float, float]] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(started(Path(own.names[0]), threads, own.command)) for own in entrants]
        for worker in workers:
            worker.ask({**caption_request(images[:1], decoding), "rival": group.looks[0]})
        for number, look in enumerate(group.looks):
            names = [entrant.names[number] for entrant in entrants]
            requests = [{**caption_request([image], decoding), "rival": look} for image in images]
            for answers in take_turns(workers, requests, 1, seconds):
                rows += _rows("caption", names, [answer["seconds"] for answer in answers])
            rows += _rows("memory", names, [worker.ask({"do": "memory"})["peak_memory_bytes"] for worker in workers])
    return pd.DataFrame(rows, columns=["captioner", "measurement", "baseline", "checkpoint"])


def _rows(measurement: str, names: list[str], values: list[Any]) -> list[tuple[str, str, float, float]]:
    known = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    return [(name, measurement, values[0] or value, value) for name, value in known]


def summarize(samples: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The figures of each captioner, of samples with the column session: seconds for a caption and how many times as
    fast that is as the baseline, with 95 % intervals, and the peak of memory."""
    figures: dict[str, dict[str, float]] = {}
    for name, own in samples.groupby("captioner", sort=False):
        sessions, memory = sessions_of(own, "caption"), own[own["measurement"] == "memory"]["checkpoint"]
        figures[str(name)] = estimate_over_sessions(sessions["checkpoint"]).entries("seconds", 3)
        figures[str(name)] |= estimate_speedup(sessions["speedup"]).entries("speedup", 3)
        if not memory.empty:
            figures[str(name)]["peak_memory_mb"] = round(float(memory.median()) / 1e6, 1)
    return figures


def _check() -> None:
    if caps := caps_of(os.environ):
        raise InputError(f"{', '.join(caps)} would keep some engines from instruction sets and not others: unset that")
    if read_manifest(BASELINE).origin.get("untrained") != SIZE:
        raise InputError(f"{BASELINE} is not {SIZE} with random weights: run this by `make rivals`")


def main() -> None:
    """Writes reports/rivals.json."""
    _check()
    params = read_params()
    images, decoding, threads = pictures_to_time(params), decoding_to_time(params), params.benchmark.threads
    tables: list[pd.DataFrame] = []
    for session, group in itertools.product(range(SESSIONS), groups()):
        found = time_group(group, BASELINE, images, decoding, threads, SECONDS)
        tables.append(found.assign(session=session))
        captions = found[found["measurement"] == "caption"].groupby("captioner", sort=False)["checkpoint"].median()
        said = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in captions.items())
        print(f"session {session + 1} of {SESSIONS}: {said}", flush=True)
    content = {"threads": threads, "new_tokens": decoding.max_new_tokens, "machine": describe_machine()}
    write_metrics({**content, "captioners": summarize(pd.concat(tables, ignore_index=True))}, TIMES)


if __name__ == "__main__":
    run(main)
