"""What guesses at words bring the decoder: `python -m tests.timing.guesses openvino_int8 onnx_int8` (`make guesses`, at
BLIP-base's full size).

A checkpoint is open in two processes that take turns at the same captions, one of which guesses as `decoding.drafts`
says and the other doesn't. Wants a quiet machine.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.progress import track

from stages.captioner.checkpoint import MODELS
from stages.captioner.command_line import InputError, run
from stages.captioner.runtimes.decoding import Decoding
from stages.final import time_rounds
from stages.records.machine import describe_machine, name_machine
from stages.setup.params import Benchmark, read_params
from stages.timing.statistics import estimate_lead, estimate_over_sessions, typical
from stages.timing.turns import decoding_to_time, pictures_to_time, started

WITHOUT, WITH = "without", "with"  # guesses


def time_guesses(
    checkpoint: Path, images: list[Path], decoding: Decoding, settings: Benchmark, sessions: int
) -> pd.DataFrame:
    """Times a checkpoint's decoder in so many sessions with fresh processes. Returns a row per session with the seconds
    of a caption with and without guesses, and the column `lead`, how many times as fast the first are."""
    rows = []
    requests = [{"image": str(image), "decoding": decoding.model_dump()} for image in images]
    for number in track(range(sessions), description=f"timing {checkpoint.name}"):
        guesses = {WITHOUT: 0, WITH: decoding.drafts}
        names = list(guesses) if number % 2 == 0 else list(reversed(guesses))  # who starts first changes
        with ExitStack() as stack:
            commands = [("tests.timing.guesses_worker", str(checkpoint), str(guesses[name])) for name in names]
            workers = [stack.enter_context(started(checkpoint, settings.threads, command)) for command in commands]
            for worker in workers:
                worker.ask(requests[0])
            rounds = time_rounds(workers, names, requests, settings)
        figures = rounds.assign(lead=rounds[WITHOUT] / rounds[WITH])
        rows.append(figures.agg(typical))
    return pd.DataFrame(rows)


def main(
    checkpoints: Annotated[list[str], typer.Argument(help="folders of models/, of a runtime that guesses")],
    sessions: Annotated[int, typer.Option(min=2, help="how often, with fresh processes")] = 8,
) -> None:
    """Prints the table of reports/README.md: a caption's milliseconds in the decoder, of one picture."""
    params = read_params()
    decoding = decoding_to_time(params)
    if not decoding.drafts:
        raise InputError("decoding.drafts in params.yaml is 0, which guesses nothing: set it to 3, for example")
    print(f"{params.model}, {decoding.drafts} guesses, {name_machine(describe_machine())}\n")
    print("| decoder of | alone, ms | with guesses, ms | times as fast |\n|---|---|---|---|")
    for name in checkpoints:
        found = time_guesses(MODELS / name, pictures_to_time(params), decoding, params.benchmark, sessions)
        alone, guessed = (estimate_over_sessions(found[column] * 1e3) for column in (WITHOUT, WITH))
        times = (f"{own.value:.1f} ({own.low:.1f}–{own.high:.1f})" for own in (alone, guessed))
        lead = estimate_lead(found["lead"])
        print(f"| {name} | {' | '.join(times)} | {lead.value:.2f} ({lead.low:.2f}–{lead.high:.2f}) |", flush=True)


if __name__ == "__main__":
    run(main)
