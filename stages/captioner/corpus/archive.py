"""Captions an archive: its pictures numbered, shared out among workers by Ray Data, and written as Parquet."""

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoint import read_manifest
from ..command_line import InputError, brief
from ..runtimes.cores import usable_cores
from ..runtimes.decoding import Decoding
from . import calibration, progress
from .calibration import Arrangement
from .captioning import BlockCaptioner, Work
from .engine import started
from .interruption import insistent
from .manifest import count_pictures, write_manifest
from .output import Counts, Output, alone, count, digest_of, lay_out, other_digests, reconcile
from .sources import find_pictures
from .storage import locate

# A block is captioned by one worker, and written when all of it is. What is lost to a crash is a block of each.
SMALLEST_BLOCK, LARGEST_BLOCK = 16, 4096  # pictures
FILTER_MEMORY = 64 * 1024**2  # bytes; of a hundred million pictures, numbers take 800 MB, for which Ray makes room


class Asked(NamedTuple):
    """What the user wants: see the command's options."""

    checkpoint: Path
    source: str
    folder: str
    decoding: Decoding
    column: str | None = None
    threads: int | None = None
    batch_size: int | None = None
    address: str | None = None
    logs: str | None = None


class Tally:
    """Counts captioned pictures, and how often each block was begun, in a process of its own that all workers reach."""

    def __init__(self) -> None:
        self._count = 0
        self._begun = Counter[int]()

    def begin(self, number: int) -> int:
        """How often the block with this first number has been begun by now."""
        self._begun[number] += 1
        return self._begun[number]

    def add(self, pictures: int) -> None:
        """Counts some more."""
        self._count += pictures

    def total(self) -> int:
        """How many there were."""
        return self._count


def count_blocks(pictures: int, workers: int, at_once: int) -> int:
    """As many blocks for each worker, of nearly whole batches, so that there are about as many blocks as pictures in
    each; if all workers are to have one, that may mean less than a batch."""
    rows = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, math.isqrt(pictures)))
    whole = math.ceil(rows / at_once) * at_once
    return min(pictures, math.ceil(pictures / (whole * workers)) * workers)


def caption_archive(asked: Asked) -> tuple[Output, Counts]:
    """Captions what has no caption yet, and counts all.

    Raises InputError if the archive, the checkpoint, the output or the cluster can't be used, or if a worker dies at
    the same pictures time and again; what was captioned until then stays.
    """
    read_manifest(asked.checkpoint)
    digest = digest_of(asked.checkpoint, asked.decoding)
    output = lay_out(asked.folder, digest)
    with alone(output):
        total = _number(asked, output)
        reconcile(output)
        before = count(output)
        if before.total < total:
            _say_where_it_begins(output, before, total)
            work = Work(str(asked.checkpoint.absolute()), asked.decoding, output.manifest, digest)
            with started(asked.address, asked.logs) as ray, insistent():
                _caption(ray, asked, work, output, before.total, total)
        return output, _checked(output, total)


def _number(asked: Asked, output: Output) -> int:
    """How many pictures there are, which are found and numbered at the first time."""
    known = count_pictures(output.manifest, asked.source, asked.column)
    if known is not None:
        return known
    return write_manifest(output.manifest, asked.source, asked.column, find_pictures(asked.source, asked.column))


def _say_where_it_begins(output: Output, before: Counts, total: int) -> None:
    if before.total:
        print(f"going on: {before.total:,} of {total:,} pictures are done", flush=True)
    elif others := other_digests(output):
        print(
            f"{output.folder} holds captions by another checkpoint or decoding ({', '.join(others)}), which stay: "
            f"these begin anew in {output.captions}",
            flush=True,
        )


def _caption(ray: Any, asked: Asked, work: Work, output: Output, before: int, total: int) -> None:
    tally = _start_tally(ray)
    try:
        arrangement = _arrange(ray, asked, work, total - before, total)
        with progress.shown(total, before, lambda: _read(ray, tally)):
            _run(ray, asked, work, arrangement, output, total, tally)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise InputError(str(cause) if isinstance(cause, InputError) else _broken_off(cause)) from error
    except ray.exceptions.RayError as error:
        raise InputError(_broken_off(error)) from error


def _broken_off(error: object) -> str:
    return f"captioning broke off ({brief(error)}): run the same command again to go on, with --logs to see more"


def _start_tally(ray: Any) -> Any:
    """In this machine's part of the cluster, which lives as long as this process."""
    here = ray.get_runtime_context().get_node_id()
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=place)(Tally).remote()


def _read(ray: Any, tally: Any) -> int:
    """What a tally has counted; nothing if it is gone, of which captions know nothing."""
    try:
        return int(ray.get(tally.total.remote()))
    except ray.exceptions.RayError:
        return 0


def _arrange(ray: Any, asked: Asked, work: Work, left: int, total: int) -> Arrangement:
    """Workers, threads and pictures at once, tried as far as the archive is large enough for that to pay."""
    cores = usable_cores() if asked.address is None else int(calibration.largest_node(ray)["Resources"]["CPU"])
    if left < calibration.FEWEST or (asked.threads and asked.batch_size):
        threads = asked.threads or 1
        return Arrangement(max(1, cores // threads), threads, asked.batch_size or calibration.UNTRIED_AT_ONCE)
    numbers = range(min(total, calibration.TRIED))
    trial = calibration.calibrate(ray, work, numbers, left, cores, asked.threads, asked.batch_size)
    workers, threads, batch_size = trial.arrangement
    print(
        f"on each machine: {workers} × {threads} threads, {batch_size} pictures at once, as {trial.rate:.3g} pictures "
        "a second were the most of all that was tried",
        flush=True,
    )
    return trial.arrangement


def _run(ray: Any, asked: Asked, work: Work, arrangement: Arrangement, output: Output, total: int, tally: Any) -> None:
    """Ray Data's own part: numbers in blocks, workers, files, and the checkpoint of what is done."""
    data = ray.data
    data.DataContext.get_current().checkpoint_config = _checkpoint(data, output)
    store, path = locate(output.captions)
    here = asked.address is None
    workers = arrangement.workers if here else _room_for_workers(ray, arrangement.threads)
    blocks = count_blocks(total, workers, arrangement.batch_size)
    most = min(workers, blocks)
    data.range(total, override_num_blocks=blocks).map_batches(
        BlockCaptioner,
        fn_constructor_args=(work, arrangement.threads, arrangement.batch_size, tally),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=arrangement.threads,
        # All at once on this machine, and in a cluster as it has room.
        compute=data.ActorPoolStrategy(min_size=most if here else 1, max_size=most),
    ).write_parquet(path, filesystem=store)


def _checkpoint(data: Any, output: Output) -> Any:
    """What Ray keeps of what is done, which stays when all is, so that nothing is captioned twice."""
    from ray.data.checkpoint import CheckpointConfig

    store, path = locate(output.done)
    config = CheckpointConfig(
        id_column="id", checkpoint_path=path, delete_checkpoint_on_success=False, override_filesystem=store
    )
    config.checkpoint_actor_memory_bytes = FILTER_MEMORY
    config.checkpoint_actor_pool_max_size = 1
    return config


def _room_for_workers(ray: Any, threads: int) -> int:
    """How many a cluster has processors for by now."""
    return max(1, int(ray.cluster_resources().get("CPU", 1) // threads))


def _checked(output: Output, total: int) -> Counts:
    counts = count(output)
    if counts.total != total:
        raise InputError(
            f"{output.captions} has {counts.total:,} rows for {total:,} pictures: run the same command again"
        )
    return counts
