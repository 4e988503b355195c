import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.benchmark import benchmark, enough, summarize, token_counts, usual_length
from stages.captioner.command_line import InputError
from stages.captioner.images import open_image
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.setup.params import Benchmark, Model
from stages.timing.turns import caption_request, started, take_turns
from tests.conftest import Build, with_weights

SETTINGS = Benchmark(threads=1, images=2, sessions=2, rounds=4, seconds=0, new_tokens=5, throughput_batch=3)
# No time beyond the sessions that there always are.
MODEL = Model.model_validate(
    {
        "source": {"folder": "data/demo"},
        "dataset": {"kind": "scenes", "evaluation": 2, "calibration": 1},
        "speedup_within": 0.1,
        "benchmark_seconds": 0,
    }
)


@pytest.fixture(scope="module")
def timed(baseline: Path, build: Build, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    from stages.scenes.composition import compose
    from stages.scenes.drawing import draw

    files = [tmp_path_factory.mktemp("pictures") / f"{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        draw(compose(seed, "held_out"), seed).save(file)
    return benchmark(build("onnx_int8"), baseline, files, Decoding(), SETTINGS, MODEL)


@pytest.mark.parametrize("spoiled_first", [True, False])
def test_what_is_not_finite_is_not_timed(
    baseline: Path, picture_files: list[Path], tmp_path: Path, spoiled_first: bool
) -> None:
    spoiled = with_weights(
        baseline, tmp_path / "spoiled", lambda model: model.vision_model.post_layernorm.bias.fill_(float("nan"))
    )
    pair = (spoiled, baseline) if spoiled_first else (baseline, spoiled)
    with pytest.raises(InputError, match=rf"^{spoiled} computes inf or NaN"):
        benchmark(*pair, picture_files, Decoding(), SETTINGS, MODEL)


@pytest.mark.parametrize("origin", [{"folder": "data/demo"}, {"untrained": "blip-base"}])
def test_guesses_change_no_caption_that_is_timed(
    origin: dict[str, str], build: Build, picture_files: list[Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(build("onnx_int8"), checkpoint)
    manifest = json.loads((checkpoint / "checkpoint.json").read_text())
    (checkpoint / "checkpoint.json").write_text(json.dumps(manifest | {"origin": origin}))
    decoding = Decoding().exactly(10)
    with open_captioner(checkpoint) as captioner:
        images = [open_image(path) for path in picture_files]
        expected = [captioner.caption([image], decoding.model_copy(update={"drafts": 0}))[0] for image in images]
    with started(checkpoint, 1) as worker:
        for _ in range(3):  # the first is not guessed at, and what comes again is
            said = [worker.ask(caption_request([path], decoding))["captions"] for path in picture_files]
            assert said == [[caption] for caption in expected]


def test_every_measurement_has_its_pairs(timed: pd.DataFrame) -> None:
    pairs = timed.groupby("measurement").size().to_dict()
    assert pairs == {
        **{"start": 2, "caption": 2 * 4, "memory": 2, "preprocess": 2 * 2, "encode": 2 * 2, "batch": 1},
        "decode": 2 * 2 * 4,
    }
    assert (timed[["baseline", "checkpoint"]] > 0).all(axis=None)
    assert sorted(timed["tokens"].dropna().unique()) == [1, 4, 7, 10]


def test_a_start_takes_longer_than_a_caption_and_memory_is_plausible(timed: pd.DataFrame) -> None:
    medians = timed.groupby("measurement")["checkpoint"].median()
    assert medians["start"] > 10 * medians["caption"]
    assert 50e6 < medians["memory"] < 5e9


@pytest.mark.parametrize(
    ("decoding", "counts"),
    [
        (Decoding(), [1, 7, 14, 20]),
        (Decoding().exactly(10), [1, 4, 7, 10]),
        (Decoding(max_new_tokens=500), [1, 7, 14, 20]),
        (Decoding(max_new_tokens=2), [1, 2]),
        (Decoding(max_new_tokens=1), [1]),
    ],
)
def test_decoding_is_timed_for_lengths_that_captions_have(decoding: Decoding, counts: list[int]) -> None:
    assert token_counts(decoding, new_tokens=10) == counts


def samples_of(sessions: int, noise: float = 0.0, seed: int = 0, token: float = 0.002) -> pd.DataFrame:
    """What `benchmark` would give on a machine of a known speed: a checkpoint twice as fast as the baseline."""
    dice = np.random.default_rng(seed)
    known = {"start": 2.0, "caption": 0.05, "memory": 50e6, "preprocess": 0.001, "encode": 0.01, "batch": 0.2}
    rows = []
    for session in range(sessions):
        for name, tokens, seconds in (
            *((name, None, seconds) for name, seconds in known.items() if name != "batch" or session == 0),
            *(("caption", None, 0.05) for _ in range(5)),
            *(("decode", tokens, 0.01 + token * (tokens - 1)) for tokens in (1, 7, 14, 20) for _ in range(2)),
        ):
            drift = dice.uniform(1, 1 + noise)  # the machine slows down, for both
            own, other = dice.lognormal(0, noise, 2) * seconds * drift
            rows.append((name, tokens, 2 * own, other, session))
    table = pd.DataFrame(rows, columns=["measurement", "tokens", "baseline", "checkpoint", "session"])
    return table.astype({"tokens": "Int64"})


def test_figures_are_those_of_the_machine_that_made_the_samples() -> None:
    figures = summarize(samples_of(4), throughput_batch=8, speedup_within=0.1)
    assert (figures["pairs"], figures["sessions"], figures["ended"]) == (24, 4, "interval reached")
    assert figures["speedup_width"] == 0
    assert figures["speedup_between_runs"] == 0.035
    for name in ("speedup", "encode_speedup", "prefill_speedup", "token_speedup", "load_speedup"):
        interval = [float(figures[f"{name}{end}"]) for end in ("_ci_low", "", "_ci_high")]
        assert interval == pytest.approx([2 * 0.93, 2, 2 / 0.93], rel=0.01)  # no session differs, runs may
    times = {name: figures[name] for name in ("latency_ms", "encode_ms", "prefill_ms", "token_ms", "load_s")}
    assert times == {"latency_ms": 50, "encode_ms": 10, "prefill_ms": 10, "token_ms": 2, "load_s": 2}
    assert (figures["baseline_latency_ms"], figures["latency_p90_ms"]) == (100, 50)
    assert (figures["throughput_images_per_s"], figures["throughput_speedup"]) == (40, 2)
    assert "throughput_speedup_ci_low" not in figures  # of one session
    assert (figures["peak_memory_mb"], figures["peak_memory_share"]) == (50, 0.5)


def test_memory_that_the_system_does_not_tell_is_absent() -> None:
    samples = samples_of(4)
    figures = summarize(samples[samples["measurement"] != "memory"], throughput_batch=8, speedup_within=0.1)
    assert not [name for name in figures if "memory" in name]
    assert figures["throughput_speedup"] == 2


def test_sessions_go_on_while_the_interval_is_wide_and_there_is_time() -> None:
    own, model = SETTINGS.model_copy(update={"sessions": 3}), MODEL.model_copy(update={"benchmark_seconds": 60})
    assert not enough([2.0, 2.0], own, model, seconds=100)
    assert enough([2.0, 2.0, 2.0], own, model, seconds=10)
    assert not enough([1.0, 2.0, 4.0], own, model, seconds=10)
    assert enough([1.0, 2.0, 4.0], own, model, seconds=60)


def test_what_ended_the_timing_is_said() -> None:
    wide = summarize(samples_of(3, noise=0.5), throughput_batch=8, speedup_within=0.01)
    assert wide["ended"] == "time over"
    assert float(wide["speedup_width"]) > 0.01


@given(st.integers(3, 6), st.floats(0, 3), st.integers(0, 1000), st.floats(-0.0004, 0.01))
@settings(max_examples=60)
def test_whatever_the_noise_no_figure_is_negative_and_each_lies_in_its_interval(
    sessions: int, noise: float, seed: int, token: float
) -> None:
    figures = summarize(samples_of(sessions, noise, seed, token), throughput_batch=8, speedup_within=0.1)
    assert all(value >= 0 and np.isfinite(value) for value in figures.values() if not isinstance(value, str))
    for name in [name.removesuffix("_ci_low") for name in figures if name.endswith("_ci_low")]:
        assert figures[f"{name}_ci_low"] <= figures[name] <= figures[f"{name}_ci_high"]


def test_a_time_per_token_that_noise_hides_is_absent() -> None:
    figures = summarize(samples_of(3, noise=0.1, token=0), throughput_batch=8, speedup_within=0.1)
    assert not {name for name in figures if name.startswith("token")}


def test_the_usual_token_lies_in_the_middle_of_those_that_were_timed() -> None:
    assert usual_length(samples_of(2)) == 11
    assert usual_length(samples_of(2).query("tokens == 1")) == 2


def test_workers_caption_like_the_captioner_and_take_turns(build: Build, picture_files: list[Path]) -> None:
    from stages.captioner.images import open_image

    checkpoint = build("onnx_int8")
    captioner = open_captioner(checkpoint)
    expected = [captioner.caption([open_image(path)])[0] for path in picture_files]
    requests = [caption_request([path], Decoding()) for path in picture_files]
    with started(checkpoint, 1) as first, started(checkpoint, 1) as second:
        answers = list(take_turns((first, second), requests, rounds=6, seconds=0))
    assert len(answers) == 6
    for number, pair in enumerate(answers):
        assert [answer["captions"] for answer in pair] == [[expected[number % 4]]] * 2


def test_a_worker_that_dies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent died"), started(tmp_path / "absent", 1) as worker:
        worker.ask({"do": "memory"})
