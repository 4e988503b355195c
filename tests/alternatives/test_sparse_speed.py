import pandas as pd
import pytest

from stages.alternatives import sparse_speed
from stages.alternatives.sparse_kernels import KERNELS, Layer, missing_kernels
from stages.alternatives.sparse_page import ALL
from stages.alternatives.sparse_speed import describe, figures, measure

LAYERS = (
    Layer("wide", "picture", 64, 128, 5, 12, 1),
    Layer("narrow", "picture", 64, 32, 5, 12, 1),
    Layer("of words", "word", 64, 44, 1, 6, 3),
)


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    """Of layers that are small enough to be timed in no time."""
    return measure(LAYERS, sessions=2, rounds=2, threads=1)


def test_each_kernel_is_timed_in_each_round_at_each_share_that_it_has(samples: pd.DataFrame) -> None:
    here = {name for name in KERNELS if name not in missing_kernels()}
    assert set(samples["kernel"]) == here
    halves = {name for name in here if KERNELS[name].zeros == "2:4"}
    for (_, _, share, _, layer), own in samples.groupby(["session", "part", "share", "round", "layer"]):
        assert sorted(own["kernel"]) == sorted(here if share == sparse_speed.HALF else here - halves), layer
    assert (samples["seconds"] > 0).all()
    assert samples.groupby("part")["layer"].agg(set).to_dict() == {"picture": {"wide", "narrow"}, "word": {"of words"}}


def test_what_is_kept_can_be_read_again(samples: pd.DataFrame) -> None:
    own = describe(
        samples, 1, {"cpu": "A CPU", "cpu_family_model_stepping": "1/2/3", "instruction_sets": [], "usable_cores": 1}
    )
    assert type(own).model_validate_json(own.model_dump_json()) == own
    assert (own.sessions, own.rounds, own.machine) == (2, 2, "A CPU 1/2/3 x1")
    assert [speed.share for speed in own.curve("torch_csr", "word")] == list(sparse_speed.SHARES)
    assert [speed.share for speed in own.curve("torch_int8", "picture", "wide")] == [0.0]


def drawn(csr: dict[float, float]) -> pd.DataFrame:
    """A machine where dense float32 takes 4 s, int8 1 or 2, and CSR what is given for each share of zeros."""
    rows = [
        (session, "picture", share, turn, layer, kernel, seconds * (1 + 0.5 * turn))  # a machine that slows down
        for session in range(3)
        for turn in range(3)
        for share, own in csr.items()
        for layer in ("a", "b")
        for kernel, seconds in (("torch_float32", 4.0), ("torch_int8", 1.0), ("openvino_int8", 2.0), ("torch_csr", own))
    ]
    return pd.DataFrame(rows, columns=["session", "part", "share", "round", "layer", "kernel", "seconds"])


def test_ratios_are_taken_within_a_round_and_int8_is_the_faster_one() -> None:
    own = {(speed.layer, speed.kernel, speed.share): speed for speed in figures(drawn({0.3: 8.0, 0.9: 0.5}))}
    assert own[ALL, "torch_csr", 0.3].speedup == pytest.approx(0.5)
    assert own["a", "torch_csr", 0.9].speedup == pytest.approx(8)
    assert own["b", "torch_csr", 0.9].over_int8 == pytest.approx(2)
    assert own[ALL, "openvino_int8", 0.0].over_int8 == pytest.approx(0.5)
    assert own[ALL, "torch_float32", 0.0].speedup_ci_high == pytest.approx(1)
    assert own["a", "torch_csr", 0.9].ms * 2 == pytest.approx(own[ALL, "torch_csr", 0.9].ms)


def test_capped_instruction_sets_are_refused(run_stage) -> None:  # type: ignore[no-untyped-def]
    process = run_stage("alternatives.sparse_speed", ONEDNN_MAX_CPU_ISA="AVX2")
    assert process.returncode == 1
    assert "ONEDNN_MAX_CPU_ISA would keep some kernels" in process.stderr
