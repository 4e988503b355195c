"""Times a checkpoint against the baseline again and again: `python -m tests.timing.control` (`make control`).

Of the baseline, the intervals are to contain 1.00, at least nine times in ten; of another checkpoint, each two are to
overlap. Wants a quiet machine, and what `dvc repro download dataset` makes.
"""

from itertools import combinations
from typing import Annotated

import typer

from stages.benchmark import benchmark, summarize
from stages.captioner.checkpoint import BASELINE, MODELS
from stages.captioner.command_line import InputError, run
from stages.setup.params import read_params
from stages.timing.turns import decoding_to_time, pictures_to_time

HOLDS = 0.9


def main(
    checkpoint: Annotated[str, typer.Argument(help="a folder of models/")] = BASELINE.name,
    runs: Annotated[int, typer.Option(min=2, help="how often")] = 10,
    seconds: Annotated[float | None, typer.Option(min=0, help="shortest time of captions per session")] = None,
) -> None:
    """Prints an interval per run and how many do as they should; the exit status is 1 if too few do."""
    params = read_params()
    model, settings = params.chosen_model(), params.benchmark
    if seconds is not None:
        settings = settings.model_copy(update={"seconds": seconds})
    intervals = []
    for number in range(runs):
        samples = benchmark(
            MODELS / checkpoint, BASELINE, pictures_to_time(params), decoding_to_time(params), settings, model
        )
        figures = summarize(samples, settings.throughput_batch, model.speedup_within)
        low, high = float(figures["speedup_ci_low"]), float(figures["speedup_ci_high"])
        intervals.append((low, high))
        print(f"{number + 1}: {figures['speedup']:.3f} ({low:.3f} to {high:.3f}), {figures['sessions']} sessions")
    if checkpoint == BASELINE.name:
        good, of, what = sum(low <= 1 <= high for low, high in intervals), runs, "intervals contain 1.00"
    else:
        pairs = list(combinations(intervals, 2))
        good = sum(one[0] <= other[1] and other[0] <= one[1] for one, other in pairs)
        of, what = len(pairs), "pairs of intervals overlap"
    print(f"{good} of {of} {what}")
    if good < HOLDS * of:
        raise InputError(f"only {good} of {of} {what}: repeat it on a quieter machine, or the benchmark is wrong")


if __name__ == "__main__":
    run(main)
