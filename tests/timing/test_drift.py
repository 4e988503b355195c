"""A machine whose speed changes while it is measured, with a clock of its own: nothing here depends on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import final
from stages.benchmark import summarize, time_pair
from stages.captioner.runtimes.decoding import Decoding
from stages.setup.params import Benchmark
from stages.timing import turns
from stages.timing.turns import Answer, Request, Worker, caption_request

SETTINGS = Benchmark(threads=1, images=2, sessions=3, rounds=40, seconds=0, new_tokens=10, throughput_batch=8)
SPEEDUP, CAPTION = 2.5, 0.05
RUN = 3 * 40 * (1 + SPEEDUP) * CAPTION * 1.7  # about as long as all captions take, in the machine's seconds
Speed = Callable[[float], float]


class Machine:
    """Works at a speed that depends on how late it is. Its clock goes on only while it works."""

    def __init__(self, speed: Speed) -> None:
        self.speed, self.now = speed, 0.0

    def work(self, amount: float) -> float:
        """Does what takes so many seconds at full speed, in small steps, and returns what it took."""
        start = self.now
        for _ in range(10):
            self.now += amount / 10 / self.speed(self.now)
        return self.now - start


class VirtualWorker(Worker):
    """Answers as a worker does whose process runs on such a machine."""

    def __init__(self, machine: Machine, caption: float) -> None:
        self.machine, self.caption = machine, caption

    def ask(self, request: Request) -> Answer:
        """The times that the machine takes for what is asked."""
        work = self.machine.work
        if request["do"] == "memory":
            return {"peak_memory_bytes": 1_000_000}
        if request["do"] == "caption":
            return {"seconds": work(self.caption * len(request["images"]))}
        answer: dict[str, Any] = {"preprocess": work(self.caption / 50), "encode": work(self.caption / 5)}
        return answer | {"decode": [work(self.caption * (1 + tokens) / 20) for tokens in request["lengths"]]}


def measure(speed: Speed) -> dict[str, float | int | str]:
    """The figures that the benchmark would give of a checkpoint that is SPEEDUP times as fast as the baseline."""
    machine, tables = Machine(speed), []
    for number in range(SETTINGS.sessions):
        pair = VirtualWorker(machine, CAPTION * SPEEDUP), VirtualWorker(machine, CAPTION)
        rows = [("start", None, 1.0, 1.0), *time_pair(number, pair, [Path("a"), Path("b")], Decoding(), SETTINGS)]
        table = pd.DataFrame(rows, columns=["measurement", "tokens", "baseline", "checkpoint"])
        tables.append(table.astype({"tokens": "Int64"}).assign(session=number))
    assert machine.now > 0.7 * RUN
    return summarize(pd.concat(tables), SETTINGS.throughput_batch, speedup_within=0.1)


def stepping(now: float) -> float:
    return 1.0 if now < RUN / 2 else 0.5


def ramping(now: float) -> float:
    return 1 - 0.5 * min(now / RUN, 1)


def swinging(now: float) -> float:
    return 0.75 + 0.25 * np.cos(2 * np.pi * now / 7)


def restless() -> Speed:
    """Half as fast for a fifth of the time, in stretches that last as long as some pairs do."""
    dice = np.random.default_rng(0)
    slow = dice.random(10_000) < 0.2
    return lambda now: 0.5 if slow[int(now) % len(slow)] else 1.0


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still while nobody works needs none, and has no time that is over."""
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0)


@pytest.mark.parametrize("speed", [stepping, ramping, swinging, restless()])
def test_a_machine_that_becomes_half_as_fast_moves_the_speedup_by_less_than_5_percent(speed: Speed) -> None:
    figures = measure(speed)
    assert figures["speedup"] == pytest.approx(SPEEDUP, rel=0.05)
    assert float(figures["speedup_ci_low"]) <= SPEEDUP <= float(figures["speedup_ci_high"])
    assert figures["encode_speedup"] == pytest.approx(SPEEDUP, rel=0.05)
    assert figures["token_speedup"] == pytest.approx(SPEEDUP, rel=0.1)


def test_a_steady_machine_gives_the_speedup_itself() -> None:
    assert measure(lambda _: 1.0)["speedup"] == pytest.approx(SPEEDUP, abs=1e-3)


def test_times_one_after_the_other_would_be_off_by_far() -> None:
    """The same machine, without turns: the baseline in the first half, the checkpoint in the second."""
    machine = Machine(stepping)
    baseline = [machine.work(CAPTION * SPEEDUP) for _ in range(int(RUN / 2 / CAPTION / SPEEDUP))]
    checkpoint = [machine.work(CAPTION) for _ in range(100)]
    assert np.median(baseline) / np.median(checkpoint) < 0.6 * SPEEDUP


@pytest.mark.parametrize("speed", [stepping, ramping, swinging, restless()])
def test_of_three_contenders_the_final_tells_who_is_slower_by_a_tenth(speed: Speed) -> None:
    machine, names = Machine(speed), ["slower", "quick", "slow"]
    tables = []
    for number in range(SETTINGS.sessions):
        workers: list[Worker] = [VirtualWorker(machine, CAPTION * factor) for factor in (1.25, 1, 1.1)]
        requests = [caption_request([Path("a")], Decoding())]
        tables.append(final.time_rounds(workers, names, requests, SETTINGS).assign(session=number))
    found = final.summarize(pd.concat(tables))
    assert found.contenders() == ["quick", "slow", "slower"]
    for lead, truth in zip(found.leads.values(), (1.1, 1.25), strict=True):
        assert lead.times_as_fast == pytest.approx(truth, rel=0.02) and lead.settled()
