from pathlib import Path

import pandas as pd
import pytest

from stages.benchmark import PARTS, benchmark, summarize
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.measure.timing import caption_request, started, take_turns
from stages.params import Benchmark

SETTINGS = Benchmark(
    threads=1,
    images=2,
    rounds=4,
    seconds=0,
    new_tokens=5,
    throughput_batch=3,
    bootstrap_samples=100,
)


@pytest.fixture(scope="module")
def timed(baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    from stages.pictures.drawing import draw
    from stages.pictures.scenes import compose

    files = [tmp_path_factory.mktemp("pictures") / f"{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        draw(compose(seed, "held_out"), seed).save(file)
    return benchmark(baseline, baseline, files, Decoding(), SETTINGS, sessions=2)


def test_every_measurement_has_its_pairs(timed: pd.DataFrame) -> None:
    pairs = timed.groupby("measurement").size().to_dict()
    assert pairs == {"caption": 8, **dict.fromkeys((*PARTS, "batch"), 1), "memory": 2, "start": 2}
    positive = timed[~timed["measurement"].isin(["token", "prefill"])]
    assert (positive[["baseline", "checkpoint"]] > 0).all(axis=None)


def test_a_start_takes_longer_than_a_caption_and_memory_is_plausible(timed: pd.DataFrame) -> None:
    medians = timed.groupby("measurement")["checkpoint"].median()
    assert medians["start"] > 10 * medians["caption"]
    assert 50e6 < medians["memory"] < 5e9


def test_figures_come_from_pairs() -> None:
    rows = [("caption", 2.0 * drift, 1.0 * drift) for drift in (1.0, 1.5, 3.0, 9.0)]  # the machine slows down
    rows += [(name, 4.0, 1.0) for name in (*PARTS, "batch") for _ in range(4)]
    rows += [("memory", 200e6, 50e6), ("start", 6.0, 2.0)]
    samples = pd.DataFrame(rows, columns=["measurement", "baseline", "checkpoint"]).assign(session=0)
    figures = summarize(samples, SETTINGS)
    assert (figures["speedup"], figures["speedup_ci_low"], figures["speedup_ci_high"]) == (2, 2, 2)
    assert figures["latency_ms"] == 2250
    assert figures["token_speedup"] == 4
    assert figures["throughput_images_per_s"] == 3
    assert (figures["load_s"], figures["load_speedup"]) == (2, 3)
    assert (figures["peak_memory_mb"], figures["peak_memory_share"]) == (50, 0.25)
    assert figures["pairs"] == 4


def test_workers_caption_like_the_captioner_and_take_turns(baseline: Path, picture_files: list[Path]) -> None:
    from stages.captioner.images import open_image

    expected = open_captioner(baseline).caption([open_image(path) for path in picture_files], Decoding())
    requests = [caption_request([path], Decoding()) for path in picture_files]
    with started(baseline, 1) as first, started(baseline, 1) as second:
        answers = list(take_turns((first, second), requests, rounds=6, seconds=0))
    assert len(answers) == 6
    for number, pair in enumerate(answers):
        assert [answer["captions"] for answer in pair] == [[expected[number % 4]]] * 2


def test_a_worker_that_dies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent died"), started(tmp_path / "absent", 1) as worker:
        worker.ask({"do": "memory"})
