"""How many workers, of how many threads, and how many pictures at once: found by trying, on the archive's own
pictures."""

import itertools
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..own_process import open_in_own_process
from ..runtimes.preprocessing import read_preprocessing
from .captioning import PictureOpener, Work, caption_batch
from .manifest import ManifestReader

FEWEST = 500  # pictures; fewer are captioned before trying has paid, whatever the CPU
WORTH = 0.05  # of the time that the archive takes, for trying
TRIED = 64  # pictures, of the first ones
SECONDS = 2.0  # for each number of pictures at once, and one batch at least
PAYS = 1.03  # times as fast that twice the pictures at once have to be
UNTRIED_AT_ONCE, MOST_AT_ONCE = 16, 32


class Arrangement(NamedTuple):
    """Workers on a machine, the threads of each, and how many pictures each captions at once."""

    workers: int
    threads: int
    batch_size: int


class Trial(NamedTuple):
    """What an arrangement came to: pictures per second of all workers, and the bytes of memory that one takes."""

    arrangement: Arrangement
    rate: float
    memory: int


class TriedWorker:
    """A worker that captions the same few pictures for a while. What is wrong with its checkpoint is told by `open`."""

    def open(self, work: Work, threads: int, numbers: Sequence[int]) -> None:
        """Gets ready. Raises InputError if the checkpoint can't be used."""
        checkpoint = Path(work.checkpoint)
        self._decoding = work.decoding
        self._pictures = ManifestReader(work.manifest).read(numbers)
        self._opener = PictureOpener(read_preprocessing(checkpoint))
        self._captioner = open_in_own_process(checkpoint, threads)

    def rate(self, batch_size: int, seconds: float = SECONDS) -> float:
        """Pictures per second, so many at once, for so long, after one batch that doesn't count."""
        pictures = itertools.cycle(self._pictures)
        self._caption(list(itertools.islice(pictures, batch_size)), batch_size)
        count, started = 0, time.perf_counter()
        while not count or time.perf_counter() < started + seconds:
            some = list(itertools.islice(pictures, 2 * batch_size))
            self._caption(some, batch_size)
            count += len(some)
        return count / (time.perf_counter() - started)

    def _caption(self, pictures: Sequence[Any], batch_size: int) -> None:
        for batch in self._opener.batches(pictures, batch_size):
            caption_batch(self._captioner, batch, self._decoding)

    def memory(self) -> int:
        """The most bytes that this process has held so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_batch_sizes(
    rate: Callable[[int], float], sizes: Sequence[int], is_worth: Callable[[float], bool] = lambda _: True
) -> tuple[int, float]:
    """The size from which on twice as many at once don't pay, and its rate. Of the best rate so far, `is_worth` says
    whether another one is to be tried."""
    best = (sizes[0], rate(sizes[0]))
    for size in sizes[1:]:
        if not is_worth(best[1]) or (found := rate(size)) < PAYS * best[1]:
            break
        best = (size, found)
    return best


def sizes_to_try(batch_size: int | None) -> list[int]:
    """Powers of two from what is taken untried, or what is asked for."""
    sizes = [1 << power for power in range(MOST_AT_ONCE.bit_length())]
    return [batch_size] if batch_size else [size for size in sizes if size >= UNTRIED_AT_ONCE]


def arrangements_to_try(cores: int, threads: int | None) -> list[tuple[int, int]]:
    """Workers and threads: one for each core, and one with all of them; or what is asked for."""
    if threads:
        return [(max(1, cores // threads), threads)]
    return sorted({(cores, 1), (1, cores)}, reverse=True)


def choose(trials: Sequence[Trial], memory: float) -> Trial:
    """The quickest, each with as many of its workers as find room in so many bytes."""

    def limited(trial: Trial) -> Trial:
        workers = max(1, min(trial.arrangement.workers, int(memory // max(1, trial.memory))))
        share = workers / trial.arrangement.workers
        return trial._replace(arrangement=trial.arrangement._replace(workers=workers), rate=trial.rate * share)

    return max(map(limited, trials), key=lambda trial: trial.rate)


def worth_trying(pictures: int) -> Callable[[float], bool]:
    """Tells from now on, by the best rate so far, whether another way is to be tried: as long as all takes little of
    the time that so many pictures take."""
    started = time.monotonic()
    return lambda rate: time.monotonic() - started + SECONDS < WORTH * pictures / rate


def calibrate(
    ray: Any, work: Work, numbers: Sequence[int], left: int, cores: int, threads: int | None, batch_size: int | None
) -> Trial:
    """The best arrangement on this cluster's largest machine, for so many pictures that are left: of fewer, fewer ways
    are tried. Raises InputError if the checkpoint can't be used."""
    is_worth = worth_trying(left)
    node = largest_node(ray)
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
    worker = ray.remote(num_cpus=0, scheduling_strategy=place)(TriedWorker)
    sizes = sizes_to_try(batch_size)
    trials: list[Trial] = []
    for workers, own_threads in arrangements_to_try(cores, threads):
        if trials and not is_worth(trials[-1].rate):
            break
        actors = [worker.remote() for _ in range(workers)]
        trials.append(_try(ray, actors, (work, own_threads, numbers), sizes, left))
        sizes = [trials[0].arrangement.batch_size]  # is as good for others, or nearly
    return choose(trials, node["Resources"].get("memory", float("inf")))


def _try(
    ray: Any, workers: Sequence[Any], opening: tuple[Work, int, Sequence[int]], sizes: Sequence[int], left: int
) -> Trial:
    """One arrangement, whose workers end then. What it took to open them is spent, whatever they are used for."""

    def rate(size: int) -> float:
        return float(sum(ray.get([worker.rate.remote(size) for worker in workers])))

    ray.get([worker.open.remote(*opening) for worker in workers])
    size, found = try_batch_sizes(rate, sizes, worth_trying(left))
    memory = max(ray.get([worker.memory.remote() for worker in workers]))
    for worker in workers:
        ray.kill(worker)
    return Trial(Arrangement(len(workers), opening[1], size), found, memory)


def largest_node(ray: Any) -> dict[str, Any]:
    """The machine of a cluster that has the most processors, as Ray describes it."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return max(nodes, key=lambda node: float(node["Resources"].get("CPU", 0)))
