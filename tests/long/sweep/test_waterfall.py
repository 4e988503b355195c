"""`make waterfall` on the demo in small, with instruction sets capped."""

import sys
from pathlib import Path

import pytest

from stages.page.waterfalls import WATERFALLS, read_waterfalls
from stages.records.machine import CAPS, describe_machine, name_machine
from stages.records.provenance import MADE_BY, digest, digest_code
from tests.projects import copy_project, shell


def test_a_capped_waterfall_is_measured_whole_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CAPS:
        monkeypatch.delenv(variable, raising=False)
    free = name_machine(describe_machine())
    for variable in ("OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.setenv(variable, "AVX2")
    project, clone = copy_project(tmp_path / "project", variants=("openvino_int8",)), str(tmp_path / "clone")
    kept = read_waterfalls(project / WATERFALLS)
    shell(project, sys.executable, "-m", "stages.sweep.checkout", clone)
    output = shell(project, sys.executable, "-m", "stages.sweep.waterfall", clone, "openvino_int8", "demo")

    assert f"\ndemo on {free} capped: onednn avx2, ov avx2, each step with all those before:" in output
    assert not shell(project, "git", "status", "--porcelain", "--", ":!reports/waterfalls"), "only that is written"
    waterfalls = read_waterfalls(project / WATERFALLS)
    (name,) = (file for file in waterfalls if waterfalls[file] != kept.get(file))
    assert name.startswith("demo.openvino_int8.")
    assert name.endswith("-capped-onednn-avx2-ov-avx2.json")
    own = waterfalls[name]
    assert own.provenance.host == digest(describe_machine())
    assert own.provenance.code == digest_code(*MADE_BY, project=project)
    assert [step.added[:1] for step in own.steps] == [[], ["runtime: openvino"], ["equalize: true"]]
    for step in own.steps:
        row = step.model_dump()
        assert {"latency_ms_ci_low", "encode_ms", "caption_gmacs", "parameters_m", "checkpoint_mb"} < row.keys()
        assert ("cider_change_share_ci_low" in row) == (step.checkpoint != "baseline")
