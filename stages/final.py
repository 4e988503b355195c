"""DVC stage `final`: times those that could be the fastest to ship against each other, in turns.

Each was timed against the baseline alone, and what the sessions of one such run share, and those of the next do not,
lies between two contenders. Here they share it.
"""

import itertools
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from stages.captioner.checkpoint import BASELINE, MODELS
from stages.captioner.command_line import run
from stages.captioner.runtimes.decoding import Decoding
from stages.records.estimate import Estimate
from stages.records.examples import EVALUATION
from stages.records.final import CONTENDERS, FINAL, Final, Lead
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, read_metrics, write_metrics
from stages.records.provenance import KEY, of_final, of_what
from stages.setup.params import Benchmark, read_params
from stages.timing.statistics import estimate_lead, estimate_over_sessions, typical
from stages.timing.turns import (
    Request,
    Worker,
    caption_request,
    decoding_to_time,
    pictures_to_time,
    started,
    take_turns,
)

# Half-width of a lead's interval within this run at which timing ends: who is less ahead is tied with the next anyway.
WITHIN = 0.02


def final(
    checkpoints: list[Path], images: list[Path], decoding: Decoding, settings: Benchmark, most_seconds: float
) -> pd.DataFrame:
    """Times checkpoints in turns, in sessions with fresh processes, until all leads are known or the time is over.

    Returns one row per round with the column session and, for each checkpoint by name, the seconds that a caption took.
    """
    start = time.perf_counter()
    tables: list[pd.DataFrame] = []
    for number in track(itertools.count(), description="timing the final"):
        turn = 1 if number % 2 == 0 else -1  # who starts first changes from session to session
        tables.append(_run_session(checkpoints[::turn], images, decoding, settings).assign(session=number))
        rounds = pd.concat(tables, ignore_index=True)
        if number + 1 >= settings.sessions and (
            time.perf_counter() - start >= most_seconds or _widest(leads(rounds)) <= WITHIN
        ):
            break
    return rounds


def _run_session(checkpoints: list[Path], images: list[Path], decoding: Decoding, settings: Benchmark) -> pd.DataFrame:
    requests = [caption_request([image], decoding) for image in images]
    with ExitStack() as stack:
        workers = [stack.enter_context(started(checkpoint, settings.threads)) for checkpoint in checkpoints]
        for worker in workers:
            worker.ask(requests[0])
        return time_rounds(workers, [checkpoint.name for checkpoint in checkpoints], requests, settings)


def time_rounds(workers: list[Worker], names: list[str], requests: list[Request], settings: Benchmark) -> pd.DataFrame:
    """What a session times once its workers are warm: a row per round, a column per worker, in seconds."""
    turns = take_turns(workers, requests, settings.rounds, settings.seconds)
    return pd.DataFrame([[answer["seconds"] for answer in answers] for answers in turns], columns=names)


def leads(rounds: pd.DataFrame) -> dict[str, pd.Series]:
    """How many times as fast the fastest is as each, itself first, then the closest: one figure per session each."""
    names = [name for name in rounds.columns if name != "session"]
    sessions = rounds.groupby("session")[names].agg(typical)
    order = np.log(sessions).mean().sort_values().index
    fastest = str(order[0])
    ratios = rounds[names].div(rounds[fastest], axis="index").assign(session=rounds["session"])
    per_session = ratios.groupby("session")[names].agg(typical)
    return {str(name): per_session[name] for name in order}


def _widest(found: dict[str, pd.Series]) -> float:
    _, *others = found.values()
    return max(estimate_over_sessions(sessions).width() for sessions in others)


def summarize(rounds: pd.DataFrame) -> Final:
    """Who was the fastest in the rounds of `final`, and its leads."""
    found = leads(rounds)
    fastest, *others = found
    ended = "interval reached" if _widest(found) <= WITHIN else "time over"
    return Final(
        fastest=fastest,
        leads={name: _lead(estimate_lead(found[name])) for name in others},
        sessions=rounds["session"].nunique(),
        ended=ended,
    )


def _lead(estimate: Estimate) -> Lead:
    return Lead.model_validate(estimate.entries("times_as_fast", 3))


def main() -> None:
    """Writes reports/final.json, and final.csv with every round; without contenders, neither has anything in it."""
    params = read_params()
    contenders = read_metrics(CONTENDERS)
    checkpoints = [MODELS / name for name in contenders]
    rounds, found = pd.DataFrame(), Final()
    if checkpoints:
        most_seconds = params.chosen_model().benchmark_seconds
        images, decoding = pictures_to_time(params), decoding_to_time(params)
        rounds = final(checkpoints, images, decoding, params.benchmark, most_seconds)
        found = summarize(rounds)
    own = of_final(params, contenders, of_what(params.model, BASELINE, EVALUATION), describe_machine())
    write_metrics({**found.model_dump(), KEY: own.model_dump(exclude_none=True)}, FINAL)
    rounds.to_csv(REPORTS / "final.csv", index=False, float_format="%.9g")


if __name__ == "__main__":
    run(main)
