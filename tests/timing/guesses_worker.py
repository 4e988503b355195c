"""A process that holds one captioner and times its decoder with guesses, one request at a time, as
`stages.timing.worker` does: `tests.timing.guesses` is the other end of the line.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from stages.captioner.checkpoint import read_manifest
from stages.captioner.images import open_image
from stages.captioner.own_process import open_in_own_process
from stages.captioner.runtimes.captioner import Parts
from stages.captioner.runtimes.decoding import Decoding
from stages.timing.replay import Replay


def answer(parts: Parts, request: dict[str, Any], guesses: int) -> dict[str, Any]:
    """The seconds that the decoder takes for a picture's caption, with at most so many guesses a step, and its token
    ids."""
    decoding = Decoding.model_validate(request["decoding"]).model_copy(update={"drafts": guesses})
    states = parts.encode(parts.preprocess([open_image(Path(request["image"]))]))
    if isinstance(parts.drafts, Replay):
        single = decoding.model_copy(update={"drafts": 0})
        parts.drafts.expect(request["image"], lambda: parts.decode(states, single))
    start = time.perf_counter()
    (words,) = parts.decode(states, decoding)
    return {"seconds": time.perf_counter() - start, "words": words}


def main(checkpoint: Path, guesses: int, threads: int) -> None:
    """Answers requests until standard input ends. `threads` is how many the runtime may use."""
    parts = open_in_own_process(checkpoint, threads).parts
    if not read_manifest(checkpoint).trained:
        parts.drafts = Replay()
    elif parts.drafts:
        parts.drafts.learning = False  # from the few captions that are timed again and again
    for line in sys.stdin:
        print(json.dumps(answer(parts, json.loads(line), guesses)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
