"""What a caption takes a candidate, timed in turns with the recipe that leaves nothing out and with the best so far."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from stages.captioner.runtimes.decoding import Decoding
from stages.final import time_rounds
from stages.records.estimate import Estimate
from stages.setup.params import Benchmark
from stages.timing.statistics import estimate_lead, estimate_speedup, typical
from stages.timing.turns import caption_request, started


class Timing(NamedTuple):
    """What sessions found of the last of some checkpoints: how many times as fast as each other one it is, a figure for
    each session, what a caption took it in ms, and its memory at its peak in MB, if the system tells it."""

    leads: list[list[float]]
    latency_ms: float
    peak_memory_mb: float | None

    def lead(self) -> Estimate:
        """Over the first of the others, with the interval of this machine at any hour; see `estimate_lead`."""
        return estimate_lead(self.leads[0])

    def speedup(self) -> Estimate:
        """The same, where the first is not optimized; see `estimate_speedup`."""
        return estimate_speedup(self.leads[0])


def time_candidate(
    checkpoints: Sequence[Path],
    images: Sequence[Path],
    decoding: Decoding,
    settings: Benchmark,
    worth_more: Callable[[float], bool],
) -> Timing:
    """Times the last of some checkpoints in turns with all others, in sessions with fresh processes.

    After the first session `worth_more` is asked, with the lead over the first of the others so far; if it isn't, that
    session is all.
    """
    leads: list[list[float]] = [[] for _ in checkpoints[1:]]
    latencies: list[float] = []
    for number in range(settings.sessions):
        turn = 1 if number % 2 == 0 else -1  # who starts first changes from session to session
        seconds, memory = _run_session(checkpoints[::turn], images, decoding, settings, checkpoints[-1])
        own = seconds[checkpoints[-1]]
        for place, other in enumerate(checkpoints[:-1]):
            leads[place].append(typical([theirs / mine for theirs, mine in zip(seconds[other], own, strict=True)]))
        latencies.append(typical(own) * 1e3)
        if number == 0 and not worth_more(leads[0][0]):
            break
    return Timing(leads, typical(latencies), None if memory is None else memory / 1e6)


def _run_session(
    checkpoints: Sequence[Path], images: Sequence[Path], decoding: Decoding, settings: Benchmark, whose: Path
) -> tuple[dict[Path, list[float]], int | None]:
    """The seconds that captions took each checkpoint, round by round, and the bytes that one of them took at most."""
    requests = [caption_request([image], decoding) for image in images]
    with ExitStack() as stack:
        workers = {path: stack.enter_context(started(path, settings.threads)) for path in checkpoints}
        for worker in workers.values():
            worker.ask(requests[0])
        rounds = time_rounds(list(workers.values()), list(map(str, workers)), requests, settings)
        memory = workers[whose].ask({"do": "memory"})["peak_memory_bytes"]
    return {path: list(rounds[str(path)]) for path in workers}, memory


def over_the_baseline(lead: Estimate, speedup: Estimate) -> Estimate:
    """How many times as fast as the baseline what leads something is, of which that is known with its own interval;
    both are independent."""
    reach = math.hypot(math.log(lead.high / lead.low), math.log(speedup.high / speedup.low)) / 2
    value = lead.value * speedup.value
    return Estimate(value, value / math.exp(reach), value * math.exp(reach))
