"""Two branches that each add a variant, merged as models/README.md says: real Git and DVC, stages that take no time."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.projects import commit, repro, shell
from tests.readmes import code_blocks
from tests.sweep.pipeline import DVC_YAML
from tests.test_dataset import save_photos

# What is made of the figures of all checkpoints.
REPORT = """
  report:
    cmd: echo reports/quality/* reports/benchmark/* > reports/report.md
    deps: [reports/benchmark, reports/quality]
    outs: [reports/report.md: {cache: false}]
"""
RECIPE = "  {}:\n    prune: {{amount: 0.5}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one variant that is made, on the branch `main`."""
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(PROJECT / "tests/sweep/pipeline.py", folder)
    shutil.copy(PROJECT / ".gitignore", folder)
    (folder / "dvc.yaml").write_text(DVC_YAML + REPORT)
    variants = {"pruned_quantized": {"prune": {"amount": 0.3}}}
    (folder / "params.yaml").write_text(yaml.safe_dump({"decoding": {"beams": 1}, "variants": variants}))
    shell(folder, "git", "init", "-q", "-b", "main")
    shell(folder, "dvc", "init", "-q")
    save_photos(folder, "0.png")
    repro(folder)
    commit(folder)
    return folder


def add_variant(project: Path, name: str) -> None:
    shell(project, "git", "checkout", "-q", "-b", name, "main")
    shell(project, "dvc", "checkout", "-q")
    with (project / "params.yaml").open("a") as stream:
        stream.write(RECIPE.format(name))
    repro(project)
    commit(project)


def test_a_merge_makes_the_other_branch_s_variant_and_nothing_else(project: Path) -> None:
    add_variant(project, "theirs")
    (project / "models/theirs").unlink()  # a colleague's, that was never here
    shutil.rmtree(project / ".dvc/cache/runs")
    add_variant(project, "ours")
    with pytest.raises(AssertionError, match="CONFLICT"):
        shell(project, "git", "merge", "theirs")
    conflicting = set(shell(project, "git", "diff", "--name-only", "--diff-filter=U").split())
    assert conflicting == {"params.yaml", "dvc.lock", "reports/report.md"}

    params = project / "params.yaml"
    params.write_text(shell(project, "git", "show", ":2:params.yaml") + RECIPE.format("theirs"))
    assert list(yaml.safe_load(params.read_text())["variants"]) == ["pruned_quantized", "ours", "theirs"]
    [lines] = code_blocks("models/README.md", "Two branches that each add a variant", "sh")
    restore, run, finish = lines.splitlines()
    (project.parent / "ran").unlink()
    shell(project, "bash", "-c", restore)
    assert run.split("#")[0].strip() == "dvc repro"
    ran, _ = repro(project)
    assert ran == ["benchmark@theirs", "evaluate@theirs", "optimize@theirs", "report"]
    shell(project, "bash", "-c", finish)

    assert shell(project, "git", "status", "--porcelain") == ""
    assert len(shell(project, "git", "log", "-1", "--format=%P").split()) == 2
    assert json.loads(shell(project, "dvc", "status", "--json").splitlines()[-1]) == {}
    assert repro(project)[0] == []
    assert "<<<<" not in (project / "reports/report.md").read_text()
    locked = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert {f"optimize@{name}" for name in ("pruned_quantized", "ours", "theirs")} <= locked.keys()
