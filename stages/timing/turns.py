"""Times checkpoints against each other: worker processes that take turns, A B B A, over and over.

All of a round run within moments of each other, so whatever slows the machine down slows all, and the ratio of two is
worth more than either. Each worker's process boundary gives it its own memory and its own start.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.records.examples import EVALUATION, read_examples
from stages.setup.params import Params

Request = dict[str, Any]
Answer = dict[str, Any]
# Gives the threads of the worker whose turn it was time to stop spinning before the other one starts.
PAUSE_SECONDS = 0.02


class Worker:
    """One `stages.timing.worker` process with a checkpoint open in it, or another that answers alike: `command` is its
    module and arguments, but for the threads."""

    def __init__(self, checkpoint: Path, threads: int, command: Sequence[str] = ()) -> None:
        self.checkpoint = checkpoint
        command = command or ("stages.timing.worker", str(checkpoint))
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **limits, "PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error"},
            text=True,
        )

    def ask(self, request: Request) -> Answer:
        """Sends a request and waits for its answer. Raises InputError if the process has died."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise InputError(f"the process that times {self.checkpoint} died: see its message above")
        answer: Answer = json.loads(line)
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self.process.communicate()


@contextmanager
def started(checkpoint: Path, threads: int, command: Sequence[str] = ()) -> Iterator[Worker]:
    """A worker process that ends with the block."""
    worker = Worker(checkpoint, threads, command)
    try:
        yield worker
    finally:
        worker.stop()


def caption_request(images: Sequence[Path], decoding: Decoding) -> Request:
    """Asks for the captions of a batch of pictures and the seconds from decoded pictures to strings."""
    return {"do": "caption", "images": [str(path) for path in images], "decoding": decoding.model_dump()}


def check(worker: Worker, image: Path, decoding: Decoding) -> None:
    """Raises InputError if what a worker's checkpoint computes for a picture is not finite."""
    request = {**caption_request([image], decoding), "do": "check", "checkpoint": str(worker.checkpoint)}
    if wrong := worker.ask(request)["wrong"]:
        raise InputError(wrong)


def parts_request(image: Path, decoding: Decoding, lengths: Sequence[int]) -> Request:
    """Asks for the seconds of captioning's parts at batch 1, of decoding for each number of new tokens."""
    return {**caption_request([image], decoding), "do": "parts", "lengths": list(lengths)}


def take_turns(
    workers: Sequence[Worker], requests: Sequence[Request], rounds: int, seconds: float
) -> Iterator[tuple[Answer, ...]]:
    """Puts each request in turn to all workers and yields their answers, until both limits are reached.

    Who goes first changes from round to round. `rounds` is the least number of them, `seconds` the least time. Workers
    must be warm, which they are once they have captioned a picture.
    """
    start = time.perf_counter()
    forth = range(len(workers))
    for number, request in enumerate(itertools.cycle(requests)):
        if number >= rounds and time.perf_counter() - start >= seconds:
            return
        answers: dict[int, Answer] = {}
        for turn in forth if number % 2 == 0 else reversed(forth):
            time.sleep(PAUSE_SECONDS)
            answers[turn] = workers[turn].ask(request)
        yield tuple(answers[turn] for turn in forth)


def pictures_to_time(params: Params) -> list[Path]:
    """The first of the evaluation pictures."""
    return [path for path, _ in read_examples(EVALUATION)][: params.benchmark.images]


def decoding_to_time(params: Params) -> Decoding:
    """Captions as they come; of untrained weights, which end where they like, of equal length."""
    trained = read_manifest(BASELINE).trained
    return params.decoding if trained else params.decoding.exactly(params.benchmark.new_tokens)
