"""A process that holds one captioner of `rival_models` and times it, one request at a time, as `stages.timing.worker`
does with a checkpoint."""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from stages.alternatives import rival_int8
from stages.alternatives.rival_models import RIVALS, Rival, build, caption
from stages.captioner.command_line import ending_in_one_sentence
from stages.captioner.images import open_image
from stages.captioner.runtimes.memory import small_heap
from stages.timing.worker import peak_memory_bytes

PEAK = Path("/proc/self/clear_refs")
FORGET = "5"  # what makes Linux count the peak anew


def answer(model: PreTrainedModel, rival: Rival, request: dict[str, Any]) -> dict[str, Any]:
    """Carries out a request `caption`: the seconds from a decoded picture to the ids of its caption's words."""
    image = open_image(Path(request["images"][0]))
    start = time.perf_counter()
    words = caption(model, rival.prepare(rival.config, image), request["decoding"]["max_new_tokens"])
    return {"seconds": time.perf_counter() - start, "captions": [words]}


def open_rival(rival: Rival, int8: bool) -> PreTrainedModel:
    """The captioner, of whose making as little memory as can be is left."""
    with small_heap():
        model = build(rival)
        if int8:
            rival_int8.apply(model, rival.once_per_picture)
        gc.collect()
    return model


def forget_peak() -> bool:
    """Lets the peak of this process's memory be that from now on, where the system can."""
    try:
        PEAK.write_text(FORGET)
    except OSError:
        return False
    return True


def main(name: str, numbers: str, threads: int) -> None:
    """Answers requests until standard input ends. A request may name a rival of the same model that looks at pictures
    in another way."""
    torch.set_num_threads(threads)
    model = open_rival(RIVALS[name], numbers == "int8")
    counted = forget_peak()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "memory":
            told = {"peak_memory_bytes": peak_memory_bytes() if counted else None}
        else:
            told = answer(model, RIVALS[request.get("rival", name)], request)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    with ending_in_one_sentence():
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
