"""Times archives captioned in every way: by the loop that people write, by processes, and through Ray. The part of
`make corpus-load` that runs in a clone, where the full-size checkpoints have been made."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich import print

from stages.alternatives.corpus_worker import LOOP
from stages.captioner.checkpoint import BASELINE, MODELS, read_manifest, seal
from stages.captioner.command_line import InputError, run
from stages.captioner.corpus.calibration import sizes_to_try, try_batch_sizes
from stages.captioner.corpus.manifest import write_manifest
from stages.captioner.corpus.sources import find_pictures
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import DRAFTS
from stages.page.machines import SIZE
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, write_metrics
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.setup.params import read_params
from stages.timing.statistics import estimate_over_sessions, estimate_speedup
from stages.timing.turns import decoding_to_time

TIMES = REPORTS / "corpus.json"  # what is found, until it is kept under the machine's name
SESSIONS = 3
SECONDS = 15.0  # of each way but Ray in each session
TRIED = 3.0  # seconds for each number of pictures at once
SIDE = (1024, 768)  # pixels of the full-size model's pictures, which are opened and made small within the time
# Through Ray, what a picture takes is what these two archives differ by: its start takes as long for both.
FEW, MANY = 100, 400
DEMO_PICTURES = (100, 1000, 10_000)
LOOKED_EVERY = 0.25  # seconds, at memory
WAYS = ("loop", "all_cores", "per_core", "ray")


class Way(NamedTuple):
    """Processes that caption, how many threads each has, and with what."""

    kind: str
    checkpoint: Path
    processes: int
    threads: int


class Timed(NamedTuple):
    """A run of the command: seconds and, of all its processes together, the most bytes of memory."""

    seconds: float
    peak_memory_bytes: int


def draw_archive(folder: Path, count: int, size: tuple[int, int] | None = None) -> Path:
    """Drawn scenes as files: JPEG of a size, or PNG as they are drawn, a thousand in a folder."""
    for number in range(count):
        file = folder / f"{number // 1000:03}" / f"{number:06}.{'jpg' if size else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = draw(compose(number, "held_out"), number)
        (image.resize(size) if size else image).save(file)
    return folder


@contextmanager
def opened(way: Way, manifest: str, decoding: Decoding, pictures: int) -> Iterator["Processes"]:
    """The processes of a way, ready, until the block ends."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(way.threads))
    arguments = [way.kind, way.checkpoint, way.threads, manifest, decoding.model_dump_json(), pictures]
    command = [sys.executable, "-m", "stages.alternatives.corpus_worker", *map(str, arguments)]
    with ExitStack() as stack:
        started = []
        for _ in range(way.processes):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits}
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(process)
        processes = Processes(started)
        processes.hear()
        yield processes


class Processes:
    """Worker processes that are asked all at once."""

    def __init__(self, processes: "Sequence[subprocess.Popen[str]]") -> None:
        self._processes = processes

    def rate(self, batch_size: int, seconds: float) -> float:
        """Pictures per second of all together."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(json.dumps({"batch_size": batch_size, "seconds": seconds}) + "\n")
            process.stdin.flush()
        return float(sum(self.hear()))

    def hear(self) -> list[Any]:
        """An answer of each."""
        lines = [process.stdout.readline() for process in self._processes if process.stdout]
        if not all(lines):
            raise InputError("a process that captions has ended, and says above why: put that right")
        return list(map(json.loads, lines))


def time_command(checkpoint: Path, source: Path, output: Path, decoding: Decoding | None = None) -> Timed:
    """Runs the command once, from its start to its end."""
    lengths = [] if decoding is None else ["--min-new-tokens", decoding.min_new_tokens]
    lengths += [] if decoding is None else ["--max-new-tokens", decoding.max_new_tokens]
    arguments = ["--checkpoint", checkpoint, "--images", source, "--output", output, *lengths]
    command = [sys.executable, "-m", "stages.captioner.commands.corpus", *map(str, arguments)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = _peak_memory_until_end(process)
    if process.returncode:
        raise InputError(f"{' '.join(command)} ended with {process.returncode}, and says above why: put that right")
    return Timed(time.perf_counter() - started, peak)


def _peak_memory_until_end(process: "subprocess.Popen[bytes]") -> int:
    """The most memory that a process and all that it started have held at once; what they share counts once."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_memory, _family(process.pid))))
        time.sleep(LOOKED_EVERY)
    return peak


def _family(pid: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _memory(pid: int) -> int:
    """A process's share of the memory that it has in use, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def without_drafts(checkpoint: Path, copy: Path) -> Path:
    """A copy that guesses no words: those of random weights are the same for all pictures, and too easily guessed."""
    shutil.copytree(checkpoint, copy)
    (copy / DRAFTS).unlink(missing_ok=True)
    seal(copy, read_manifest(checkpoint))
    return copy


def time_full_size(folder: Path, decoding: Decoding) -> dict[str, Any]:
    """All ways at full size, in turns, in several sessions with fresh processes."""
    fastest, cores = without_drafts(MODELS / "fastest", folder / "fastest"), usable_cores()
    few, many = (draw_archive(folder / str(count), count, SIDE) for count in (FEW, MANY))
    manifest = str(folder / "manifest.parquet")
    write_manifest(manifest, str(few), None, find_pictures(str(few)))
    ways = {
        "loop": Way(LOOP, BASELINE, 1, cores),
        "all_cores": Way("worker", fastest, 1, cores),
        "per_core": Way("worker", fastest, cores, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for session in range(SESSIONS):
        for name, way in ways.items():
            with opened(way, manifest, decoding, FEW) as processes:
                size = 1 if name == "loop" else _best_size(processes)
                rates[name].append(processes.rate(size, SECONDS))
            _say(session, name, rates[name][-1])
        times = [time_command(fastest, source, folder / f"{source.name}-{session}", decoding) for source in (few, many)]
        rates["ray"].append((MANY - FEW) / (times[1].seconds - times[0].seconds))
        _say(session, "ray", rates["ray"][-1])
    return summarize(rates)


def _say(session: int, name: str, rate: float) -> None:
    print(f"session {session + 1} of {SESSIONS}: {name} {rate:.2f} pictures a second", flush=True)


def _best_size(processes: Processes) -> int:
    size, _ = try_batch_sizes(lambda size: processes.rate(size, TRIED), sizes_to_try(None))
    return size


def summarize(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Pictures per second of each way, how many times as many that is as the loop's, and Ray's share of what processes
    without it reach at best; with 95 % intervals."""
    figures: dict[str, Any] = {}
    for name, own in rates.items():
        speedups = [rate / loop for rate, loop in zip(own, rates["loop"], strict=True)]
        figures[name] = estimate_over_sessions(own).entries("pictures_per_second", 3)
        figures[name] |= estimate_speedup(speedups).entries("speedup", 2)
    best = [max(pair) for pair in zip(rates["all_cores"], rates["per_core"], strict=True)]
    shares = [rate / most for rate, most in zip(rates["ray"], best, strict=True)]
    figures["ray"] |= estimate_over_sessions(shares).entries("share_of_best", 3)
    return figures


def time_demo(checkpoint: Path, folder: Path) -> list[dict[str, Any]]:
    """Archives of the demo's scenes of several sizes, from the command's start to its end."""
    rows = []
    for count in DEMO_PICTURES:
        source, output = draw_archive(folder / f"demo-{count}", count), folder / f"captions-{count}"
        timed = time_command(checkpoint, source, output)
        written = sum(file.stat().st_size for file in output.rglob("*.parquet"))
        rows.append(
            {
                "pictures": count,
                "seconds": round(timed.seconds, 2),
                "peak_memory_mb": round(timed.peak_memory_bytes / 1e6, 1),
                "written_bytes_per_picture": round(written / count, 1),
            }
        )
        print(f"{count} pictures of the demo: {timed.seconds:.1f} s, {rows[-1]['peak_memory_mb']} MB", flush=True)
    return rows


def main(demo: Annotated[Path, typer.Argument(help="the demo's checkpoint `fastest`")]) -> None:
    """Writes reports/corpus.json."""
    if read_manifest(BASELINE).origin.get("untrained") != SIZE:
        raise InputError(f"{BASELINE} is not {SIZE} with random weights: run this by `make corpus-load`")
    decoding = decoding_to_time(read_params())
    with tempfile.TemporaryDirectory() as name:
        full_size = time_full_size(Path(name), decoding)
        rows = time_demo(demo, Path(name))
    found = {"machine": describe_machine(), "new_tokens": decoding.max_new_tokens, "sessions": SESSIONS}
    write_metrics(found | {"full_size": full_size, "demo": rows}, TIMES)


if __name__ == "__main__":
    run(main)
