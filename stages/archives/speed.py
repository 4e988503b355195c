"""Times archives captioned in every way: by the loop that people write, by processes, and through Ray. The part of
`make corpus-load` that runs in a clone, where the full-size checkpoints have been made."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich import print

from stages.archives.command import steady_rate, time_command, watch_command
from stages.archives.worker import LOOP
from stages.captioner.checkpoint import BASELINE, MODELS, read_manifest
from stages.captioner.command_line import InputError, run
from stages.captioner.corpus.calibration import MOST_AT_ONCE
from stages.captioner.corpus.manifest import write_manifest
from stages.captioner.corpus.sources import find_pictures
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.decoding import Decoding
from stages.page.machines import SIZE
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, write_metrics
from stages.scenes.composition import compose
from stages.scenes.drawing import draw
from stages.serving.checkpoints import with_decoding
from stages.setup.params import read_params
from stages.timing.statistics import estimate_over_sessions, estimate_speedup
from stages.timing.turns import decoding_to_time

TIMES = REPORTS / "corpus.json"  # what is found, until it is kept under the machine's name
SESSIONS = 3
SECONDS = 15.0  # of each way but Ray in each session
TRIED = 3.0  # seconds for each number of pictures at once
SIDE = (1024, 768)  # pixels of the full-size model's pictures, which are opened and made small within the time
PICTURES = 1200  # of the archive that goes through Ray: two minutes' on two cores, in some twenty blocks
DEMO_PICTURES = (100, 1000, 10_000)
WAYS = ("loop", "all_cores", "per_core", "ray")


class Way(NamedTuple):
    """Processes that caption, how many threads each has, and with what."""

    kind: str
    checkpoint: Path
    processes: int
    threads: int


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
    command = [sys.executable, "-m", "stages.archives.worker", *map(str, arguments)]
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


def time_full_size(folder: Path, decoding: Decoding) -> dict[str, Any]:
    """All ways at full size, in turns, in several sessions with fresh processes."""
    fastest, cores = with_decoding(MODELS / "fastest", decoding, folder / "fastest"), usable_cores()
    archive, manifest = draw_archive(folder / "archive", PICTURES, SIDE), str(folder / "manifest.parquet")
    write_manifest(manifest, str(archive), None, find_pictures(str(archive)))
    ways = {
        "loop": Way(LOOP, BASELINE, 1, cores),
        "all_cores": Way("worker", fastest, 1, cores),
        "per_core": Way("worker", fastest, cores, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    beside: list[float] = []
    for session in range(SESSIONS):
        for name, way in ways.items():
            with opened(way, manifest, decoding, PICTURES) as processes:
                size = 1 if name == "loop" else _best_size(processes)
                rates[name].append(processes.rate(size, SECONDS))
            _say(session, f"{name}, {size} at once,", rates[name][-1])
        output = folder / f"captions-{session}"
        seconds = time_command(fastest, archive, output)
        rates["ray"].append(steady_rate(output, cores))
        beside.append(seconds - PICTURES / rates["ray"][-1])
        _say(session, "ray", rates["ray"][-1])
    return summarize(rates, beside)


def _say(session: int, name: str, rate: float) -> None:
    print(f"session {session + 1} of {SESSIONS}: {name} {rate:.2f} pictures a second", flush=True)


def _best_size(processes: Processes) -> int:
    return max((1 << power for power in range(MOST_AT_ONCE.bit_length())), key=lambda size: processes.rate(size, TRIED))


def summarize(rates: Mapping[str, Sequence[float]], beside: Sequence[float]) -> dict[str, Any]:
    """Pictures per second of each way, how many times as many that is as the loop's, how many times Ray's rate is
    that of the quicker processes without it, and the seconds that its start and end take; with 95 % intervals."""
    figures: dict[str, Any] = {}
    for name, own in rates.items():
        speedups = [rate / loop for rate, loop in zip(own, rates["loop"], strict=True)]
        figures[name] = estimate_over_sessions(own).entries("pictures_per_second", 3)
        figures[name] |= estimate_speedup(speedups).entries("speedup", 2)
    best = [max(pair) for pair in zip(rates["all_cores"], rates["per_core"], strict=True)]
    ratios = [rate / most for rate, most in zip(rates["ray"], best, strict=True)]
    figures["ray"] |= estimate_over_sessions(ratios).entries("ratio_to_best", 3)
    figures["ray"] |= estimate_over_sessions(beside).entries("seconds_beside", 1)
    return figures


def time_demo(checkpoint: Path, folder: Path) -> list[dict[str, Any]]:
    """Archives of the demo's scenes of several sizes, from the command's start to its end."""
    rows = []
    for count in DEMO_PICTURES:
        source, output = draw_archive(folder / f"demo-{count}", count), folder / f"captions-{count}"
        timed = watch_command(checkpoint, source, output)
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
    # Guesses would be too easily right: random weights say the same of all pictures.
    decoding = decoding_to_time(read_params()).model_copy(update={"drafts": 0})
    with tempfile.TemporaryDirectory() as name:
        full_size = time_full_size(Path(name), decoding)
        rows = time_demo(demo, Path(name))
    found = {"machine": describe_machine(), "new_tokens": decoding.max_new_tokens, "sessions": SESSIONS}
    write_metrics(found | {"full_size": full_size, "demo": rows}, TIMES)


if __name__ == "__main__":
    run(main)
