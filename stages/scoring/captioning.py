"""What a checkpoint says of the evaluation pictures, and what it expects next at each word: one picture at a time, with
one thread in one process per core, which gets through them sooner than one picture with all cores."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from stages.captioner.checkpoint import checkpoint_bytes
from stages.captioner.command_line import InputError
from stages.captioner.images import open_whole
from stages.captioner.own_process import open_in_own_process
from stages.captioner.runtimes.captioner import Parts, open_captioner
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.finite import check_logits
from stages.captioner.runtimes.helpers import thread_limits
from stages.captioner.runtimes.scores import ScoredTokens
from stages.scoring.next_tokens import NextTokens, agreement, likeliest
from stages.setup.memory import available_bytes
from stages.setup.process import end_with_parent

# The most that a process takes, as a multiple of its checkpoint (weights, and a copy in the form that kernels read) and
# in bytes beside it (libraries, and what layers give for a picture).
COPIES, BESIDE = 2, 500_000_000


class Expected(NamedTuple):
    """What the baseline said of a picture, token ids, and what it expected next at each position."""

    said: list[int]
    next_tokens: NextTokens


class Batch(NamedTuple):
    """Some pictures; with a baseline what it said of each; whether to caption them together, too; and whether to find
    out what is expected next, if there is no baseline."""

    paths: Sequence[Path]
    expected: Sequence[Expected]
    together: bool
    next_tokens: bool


class Captioned(NamedTuple):
    """What is known of a picture: its caption; without a baseline what is expected next at each of the caption's
    positions, with one the share of positions with the same likeliest token, and the divergence in nats; and if it was
    captioned together with others, whether it got the same tokens."""

    said: ScoredTokens
    caption: str
    next_tokens: NextTokens | None
    agreement: tuple[float, float] | None
    same_in_batch: bool | None


def processes_worth_having(checkpoint: Path, cores: int | None = None, memory: float | None = None) -> int:
    """One per core, at least one, and no more than so many bytes of memory hold: those that this process may use, as
    far as they are not given."""
    cores = usable_cores() if cores is None else cores
    memory = available_bytes() if memory is None else memory
    return max(1, int(min(cores, memory // (COPIES * checkpoint_bytes(checkpoint) + BESIDE))))


def caption_batches(
    checkpoint: Path, batches: Sequence[Batch], decoding: Decoding, processes: int | None
) -> Iterator[list[Captioned]]:
    """What is known of each picture, batch by batch; found out in so many processes, which share the cores, or in this
    one. The same in any number of them.

    Raises InputError if the checkpoint can't be used, if a picture can't be opened or is cut off, if logits are not
    finite, or if a process dies.
    """
    if processes is None:
        with open_captioner(checkpoint) as captioner:
            for batch in batches:
                yield caption_batch(captioner.parts, batch, decoding)
        return
    threads = max(1, usable_cores() // processes)
    spawning = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, spawning, _get_ready) as pool:
            yield from pool.map(partial(_caption_in_own_process, checkpoint, threads, decoding), batches)
    except BrokenProcessPool:
        raise InputError(
            f"a process that captioned pictures with {checkpoint} died: see its message above if there is one, free "
            f"memory, or raise what limits memory, processes or threads ({thread_limits()})"
        ) from None


def caption_batch(parts: Parts, batch: Batch, decoding: Decoding) -> list[Captioned]:
    """Captions pictures one by one, and together if asked for. Raises InputError as `caption_batches` does."""
    images = [open_whole(path) for path in batch.paths]
    found = []
    for number, (path, image) in enumerate(zip(batch.paths, images, strict=True)):
        states = parts.encode(parts.preprocess([image]))
        expected = batch.expected[number] if batch.expected else None
        # Both models continue the baseline's own words, so one early difference doesn't spoil the rest of a caption.
        (logits,) = parts.next_token_logits(states, [expected.said if expected else []])
        check_logits([logits], f"for {path}, the checkpoint")
        (said,) = parts.decode_with_scores(states, decoding)
        agreed = agreement(logits, expected.next_tokens) if expected else None
        next_tokens = None
        if batch.next_tokens and not expected:
            (logits,) = parts.next_token_logits(states, [said.tokens])
            check_logits([logits], f"for {path}, the checkpoint")
            next_tokens = likeliest(logits)
        found.append(Captioned(said, parts.detokenize(said.tokens), next_tokens, agreed, None))
    if not batch.together:
        return found
    together = parts.decode(parts.encode(parts.preprocess(images)), decoding)
    return [own._replace(same_in_batch=own.said.tokens == tokens) for own, tokens in zip(found, together, strict=True)]


def _get_ready() -> None:
    """In a process that ends with the one that it helps, at Ctrl-C without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()


def _caption_in_own_process(checkpoint: Path, threads: int, decoding: Decoding, batch: Batch) -> list[Captioned]:
    return caption_batch(_opened(checkpoint, threads), batch, decoding)


@cache
def _opened(checkpoint: Path, threads: int) -> Parts:
    parts = open_in_own_process(checkpoint, threads).parts
    if parts.drafts:
        parts.drafts.learning = False  # as a process would from what happens to come to it
    return parts
