"""Times the server under one, four and sixteen clients, one picture at a time and in batches, in turns: the part of
`make serve-load` that runs in a clone, where the checkpoint has been made."""

import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from rich import print

from stages.captioner.checkpoint import MODELS, read_manifest
from stages.captioner.command_line import InputError, brief, run
from stages.page.machines import SIZE
from stages.records.machine import caps_of, describe_machine
from stages.records.metrics import REPORTS, write_metrics
from stages.serving.checkpoints import with_decoding
from stages.setup.params import read_params
from stages.timing.statistics import estimate_over_sessions, typical
from stages.timing.turns import PAUSE_SECONDS, pictures_to_time

TIMES = REPORTS / "serving.json"  # what is found, until it is kept under the machine's name
CHECKPOINT = MODELS / "fastest"
NEW_TOKENS = 10
CLIENTS = (1, 4, 16)
ALONE, TOGETHER = 1, 8  # pictures captioned at once, at most, by the two servers that take turns
SESSIONS = 5  # with fresh processes; an interval from few is wide
ROUNDS = 2  # of turns for each number of clients in each session
SECONDS = 6.0  # of a turn
WARM_UP_SECONDS = 3.0
START_SECONDS = 120
PATH = "/v1/chat/completions"


class Turn(NamedTuple):
    """Some seconds of some clients, each of which asks again as soon as it is answered: the seconds that each request
    took, of those answered in that time, and how many a second there were."""

    took: list[float]
    per_second: float


def request_body(picture: Path) -> bytes:
    """An OpenAI request for the caption of a picture."""
    url = f"data:image/{picture.suffix[1:]};base64,{base64.b64encode(picture.read_bytes()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"model": "blip", "messages": [{"role": "user", "content": content}]}).encode()


@contextmanager
def started(checkpoint: Path, batch_size: int, threads: int) -> Iterator[str]:
    """The address of a server that ends with the block. Raises InputError if it can't start."""
    module = [sys.executable, "-m", "stages.captioner.commands.serve", "--checkpoint", str(checkpoint), "--port", "0"]
    options = ["--batch-size", str(batch_size), "--threads", str(threads)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen([*module, *options], stderr=said)
        try:
            yield _address(process, said.fileno())
        finally:
            process.terminate()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", said: int) -> str:
    """Where a server says that it serves."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        lines = os.pread(said, 100_000, 0).decode(errors="replace").splitlines()
        for line in lines:
            if line.startswith("serving at "):
                return line.removeprefix("serving at ")
        time.sleep(0.05)
    raise InputError(f"the server doesn't start ({brief(os.pread(said, 1000, 0).decode(errors='replace'))}): mend that")


def load(address: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Turn:
    """So many clients for so many seconds. Raises InputError at an answer that is no caption."""
    start = time.perf_counter()
    end = start + seconds
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda client: _ask_until(address, bodies, client, end), range(clients)))
    answered = [pair for pairs in found for pair in pairs if pair[1] <= end]
    if not answered:
        raise InputError(f"no request of {clients} clients was answered in {seconds:g} s: take a quicker machine")
    last = max(ended for _, ended in answered)  # up to which the server was never idle
    return Turn([ended - begun for begun, ended in answered], len(answered) / (last - start))


def _ask_until(address: str, bodies: Sequence[bytes], client: int, end: float) -> list[tuple[float, float]]:
    """When each request of one client began and ended, of those that began before an end."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=START_SECONDS)
    times: list[tuple[float, float]] = []
    try:
        for number in itertools.count(client):
            begun = time.perf_counter()
            if begun >= end:
                return times
            connection.request("POST", PATH, bodies[number % len(bodies)], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise InputError(f"the server answers {answer.status} ({brief(content.decode(errors='replace'))})")
            times.append((begun, time.perf_counter()))
    except (OSError, HTTPException) as error:
        raise InputError(f"the server at {address} doesn't answer ({brief(error)}): see its message above") from None
    finally:
        connection.close()
    raise AssertionError("numbers don't end")


Turns = dict[tuple[int, int], list[Turn]]  # by clients and pictures at once


def time_session(checkpoint: Path, bodies: Sequence[bytes], threads: int, rounds: int, seconds: float) -> Turns:
    """Fresh servers, one with and one without batches, that take turns A B, B A under each number of clients."""
    found: Turns = {(clients, size): [] for clients in CLIENTS for size in (ALONE, TOGETHER)}
    with ExitStack() as stack:
        servers = {size: stack.enter_context(started(checkpoint, size, threads)) for size in (ALONE, TOGETHER)}
        for address in servers.values():
            load(address, bodies, max(CLIENTS), min(WARM_UP_SECONDS, seconds))
        for clients, number in itertools.product(CLIENTS, range(rounds)):
            for size in (ALONE, TOGETHER) if number % 2 == 0 else (TOGETHER, ALONE):
                time.sleep(PAUSE_SECONDS)
                found[clients, size].append(load(servers[size], bodies, clients, seconds))
    return found


def summarize(sessions: Sequence[Turns]) -> list[dict[str, float]]:
    """The figures of each server under each number of clients, with 95 % intervals over sessions: captions a second,
    how many times as many as without batches, and the milliseconds within which half and 99 of 100 are answered."""
    rows: list[dict[str, float]] = []
    for clients, size in sessions[0]:
        turns = [session[clients, size] for session in sessions]
        rates = [typical([turn.per_second for turn in own]) for own in turns]
        alone = [typical([turn.per_second for turn in session[clients, ALONE]]) for session in sessions]
        took = [[seconds for turn in own for seconds in turn.took] for own in turns]
        row: dict[str, float] = {"clients": clients, "batch_size": size, "requests": sum(map(len, took))}
        row |= estimate_over_sessions(rates).entries("per_second", 3)
        for percent in (50, 99):
            milliseconds = [1000 * float(np.percentile(own, percent)) for own in took]
            row |= estimate_over_sessions(milliseconds).entries(f"p{percent}_ms", 2)
        if size != ALONE:
            ratios = [own / other for own, other in zip(rates, alone, strict=True)]
            row |= estimate_over_sessions(ratios).entries("speedup", 3)
        rows.append(row)
    return rows


def _check() -> None:
    if caps := caps_of(os.environ):
        raise InputError(f"{', '.join(caps)} would keep engines from instruction sets: unset that")
    if read_manifest(CHECKPOINT).origin.get("untrained") != SIZE:
        raise InputError(f"{CHECKPOINT} is not {SIZE} with random weights: run this by `make serve-load`")


def main() -> None:
    """Writes reports/serving.json."""
    _check()
    params = read_params()
    threads, bodies = params.benchmark.threads, [request_body(picture) for picture in pictures_to_time(params)]
    # Without drafts, which would soon know the captions of so few pictures.
    decoding = params.decoding.exactly(NEW_TOKENS).model_copy(update={"drafts": 0})
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = with_decoding(CHECKPOINT, decoding, Path(folder, CHECKPOINT.name))
        sessions: list[Turns] = []
        for number in range(SESSIONS):
            sessions.append(time_session(checkpoint, bodies, threads, ROUNDS, SECONDS))
            print(f"session {number + 1} of {SESSIONS}:", _in_short(sessions[-1]))
    record = {"threads": threads, "new_tokens": NEW_TOKENS, "checkpoint": CHECKPOINT.name}
    write_metrics(record | {"machine": describe_machine(), "loads": summarize(sessions)}, TIMES)


def _in_short(session: Turns) -> str:
    rates = {key: typical([turn.per_second for turn in turns]) for key, turns in session.items()}
    return ", ".join(
        f"{clients} clients {rates[clients, ALONE]:.2f} alone, {rates[clients, TOGETHER]:.2f} together a second"
        for clients in CLIENTS
    )


if __name__ == "__main__":
    run(main)
