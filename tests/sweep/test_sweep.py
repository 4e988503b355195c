"""What `python -m stages.sweep` refuses before anything runs; tests/long/sweep lets it run."""

import shutil
from pathlib import Path

from tests.conftest import PROJECT, RunStage, assert_one_sentence


def test_a_project_without_a_commit_is_one_sentence(tmp_path: Path, run_stage: RunStage) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    process = run_stage("sweep", "variants.pruned_quantized.prune.amount", "0.1", cwd=tmp_path)
    assert_one_sentence(process, "it is in no Git repository, as from a ZIP")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
