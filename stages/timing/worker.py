"""A process that holds one captioner and times what it is told to, one request at a time.

It reads requests from standard input and answers on standard output, both as JSON, one object a line. Times are in
seconds. `stages.timing.turns` is the other end of the line.
"""

import json
import re
import resource
import sys
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from stages.captioner.checkpoint import read_manifest
from stages.captioner.command_line import InputError, ending_in_one_sentence
from stages.captioner.images import open_image
from stages.captioner.own_process import open_in_own_process
from stages.captioner.runtimes.captioner import Captioner, Parts
from stages.captioner.runtimes.decoding import Decoding
from stages.timing.replay import Replay

STATUS = Path("/proc/self/status")


def answer(captioner: Captioner, request: dict[str, Any]) -> dict[str, Any]:
    """Carries out one request: `check`, `caption`, `parts` or `memory`."""
    if request["do"] == "memory":
        return {"peak_memory_bytes": peak_memory_bytes()}
    images = [_picture(path) for path in request["images"]]
    decoding = Decoding.model_validate(request["decoding"])
    if request["do"] == "check":
        return {"wrong": _what_is_wrong(captioner, images, request["checkpoint"])}
    if request["do"] == "parts":
        return time_parts(captioner.parts, images, decoding, request["lengths"])
    if isinstance(captioner.parts.drafts, Replay):
        _say_beforehand(captioner.parts, captioner.parts.drafts, request, images, decoding)
    start = time.perf_counter()
    captions = captioner.caption(images, decoding)
    return {"seconds": time.perf_counter() - start, "captions": captions}


def _say_beforehand(
    parts: Parts, replay: Replay, request: dict[str, Any], images: list[Image.Image], decoding: Decoding
) -> None:
    """Lets guesses for untrained weights know what will be said."""

    def say() -> list[list[int]]:
        states = parts.encode(parts.preprocess(images))
        return parts.decode(states, decoding.model_copy(update={"drafts": 0}))

    replay.expect(json.dumps([request["images"], request["decoding"]]), say)


def _what_is_wrong(captioner: Captioner, images: list[Image.Image], checkpoint: str) -> str | None:
    from stages.captioner.runtimes.finite import (
        check_captioner,  # here, as a checkpoint's start would wait for its numpy
    )

    try:
        check_captioner(captioner.parts, images, checkpoint)
    except InputError as error:
        return str(error)
    return None


def time_parts(parts: Parts, images: list[Image.Image], decoding: Decoding, lengths: list[int]) -> dict[str, Any]:
    """Times the parts of captioning: `preprocess`, `encode`, and `decode` for each number of new tokens, without
    guesses."""
    single = decoding.model_copy(update={"drafts": 0})
    start = time.perf_counter()
    pixels = parts.preprocess(images)
    preprocessed = time.perf_counter()
    states = parts.encode(pixels)
    ends = [time.perf_counter()]
    for length in lengths:
        parts.decode(states, single.exactly(length))
        ends.append(time.perf_counter())
    return {
        "preprocess": preprocessed - start,
        "encode": ends[0] - preprocessed,
        "decode": [end - begin for begin, end in pairwise(ends)],
    }


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held at once; None where the system doesn't tell it.

    On Linux it is the kernel's own account of this address space: `getrusage` would count the parent's.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if re.match(r"VmHWM:\s*\d+ kB", line)]
    return int(kilobytes[0]) * 1024 if kilobytes else None


@cache
def _picture(path: str) -> Image.Image:
    return open_image(Path(path))


def main(checkpoint: Path, threads: int) -> None:
    """Answers requests until standard input ends. `threads` is how many the runtime may use."""
    captioner = open_in_own_process(checkpoint, threads)
    parts, trained = captioner.parts, read_manifest(checkpoint).trained
    if parts.drafts:
        parts.drafts.learning = False  # from the few captions that are timed again and again
    for number, line in enumerate(sys.stdin):
        print(json.dumps(answer(captioner, json.loads(line))), flush=True)
        if number == 0 and parts.drafts and not trained:  # the first is waited for from the process's start
            parts.drafts = Replay()


if __name__ == "__main__":
    with ending_in_one_sentence():  # without typer, whose import would count as a part of the checkpoint's start
        main(Path(sys.argv[1]), int(sys.argv[2]))
