from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.serving import load_times
from stages.serving.checkpoints import with_decoding
from stages.serving.load_times import Turn, Turns, load, request_body, summarize, time_session
from tests.conftest import Build, RunStage, assert_one_sentence


@pytest.fixture
def checkpoint(build: Build, tmp_path: Path) -> Path:
    return with_decoding(build("onnx"), Decoding(drafts=0).exactly(3), tmp_path / "served")


def test_what_is_served_captions_at_equal_length(checkpoint: Path) -> None:
    with open_captioner(checkpoint) as captioner:
        assert captioner.decoding == Decoding(max_new_tokens=3, min_new_tokens=3, drafts=0)


def test_servers_take_turns_under_each_number_of_clients(checkpoint: Path, picture_files: list[Path]) -> None:
    bodies = [request_body(file) for file in picture_files]
    session = time_session(checkpoint, bodies, threads=1, rounds=2, seconds=0.4)
    assert {clients for clients, _ in session} == set(load_times.CLIENTS)
    for turns in session.values():
        assert len(turns) == 2 and all(turn.per_second > 0 and min(turn.took) > 0 for turn in turns)
    rows = summarize([session, session])
    assert len(rows) == len(session) and all(row["p50_ms"] <= row["p99_ms"] for row in rows)
    assert [row["batch_size"] for row in rows if "speedup" in row] == [load_times.TOGETHER] * len(load_times.CLIENTS)


def test_a_server_that_is_gone_is_a_sentence(checkpoint: Path, picture_files: list[Path]) -> None:
    bodies = [request_body(picture_files[0])]
    with load_times.started(checkpoint, 1, 1) as address:
        assert load(address, bodies, 2, 0.5).took
        with pytest.raises(InputError, match="the server answers 400"):
            load(address, [b"{}"], 2, 0.5)
    with pytest.raises(InputError, match="doesn't answer"):
        load(address, bodies, 2, 0.5)
    with pytest.raises(InputError, match="the server doesn't start"), load_times.started(Path("none"), 1, 1):
        pass


def test_figures_are_over_sessions_and_ratios_within_them() -> None:
    sessions: list[Turns] = [
        {
            (4, load_times.ALONE): [Turn([0.4 / slow] * 9 + [4.0], 10 * slow)],
            (4, load_times.TOGETHER): [Turn([0.2 / slow] * 10, 20 * slow)],
        }
        for slow in (1.0, 0.8, 0.5)
    ]
    alone, together = summarize(sessions)
    assert together["speedup"] == together["speedup_ci_low"] == together["speedup_ci_high"] == 2
    assert together["per_second_ci_low"] < together["per_second"] < together["per_second_ci_high"]
    assert alone["requests"] == 30 and "speedup" not in alone
    assert alone["p50_ms"] < 1000 < alone["p99_ms"]


def test_only_the_full_size_without_caps_is_timed(tmp_path: Path, baseline: Path, run_stage: RunStage) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/fastest").symlink_to(baseline)
    assert_one_sentence(run_stage("serving.load_times", cwd=tmp_path), "make serve-load")
    capped = run_stage("serving.load_times", cwd=tmp_path, ONEDNN_MAX_CPU_ISA="AVX2")
    assert_one_sentence(capped, "ONEDNN_MAX_CPU_ISA")
