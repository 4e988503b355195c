"""A project whose checkpoints were made and are still to be shared."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RECIPES, Build, save_tiny_model
from tests.projects import change, commit, copy_project, shell

VARIANT = "openvino_int8"


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the developer's own settings of DVC out, and statistics and looks for updates in projects without any."""
    folder = tmp_path_factory.mktemp("dvc")
    (folder / "config").write_text("[core]\nanalytics = false\ncheck_update = false\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(folder))
        yield


@pytest.fixture(scope="module")
def made(baseline: Path, calibration: Path, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the checkpoint that `build` made of a tiny model, as if its own stages had run. To be copied."""
    project = copy_project(tmp_path_factory.mktemp("made") / "project", variants=())
    change(
        project,
        {
            "model": "tiny",
            "models.tiny": {
                "source": {"folder": "data/local/tiny"},
                "dataset": {"kind": "scenes", "evaluation": 2, "calibration": 8},
                "speedup_within": 0.1,
                "benchmark_seconds": 0,
            },
            "variants": {VARIANT: RECIPES[VARIANT].model_dump(exclude_defaults=True)},
        },
    )
    save_tiny_model(project / "data/local/tiny")
    shell(project, "dvc", "repro", "host")
    shutil.rmtree(project / "data/local")
    for source, target in (
        (baseline, "models/baseline"),
        (build(VARIANT), f"models/{VARIANT}"),
        *((calibration.parent / name, f"data/{name}") for name in ("eval", "calibration", "search")),
    ):
        shutil.copytree(source, project / target)
    shell(project, "dvc", "commit", "--force", "download", "dataset")
    shell(project, "dvc", "repro", "--single-item", "draft", "evaluate_baseline")
    shell(project, "dvc", "commit", "--force", "optimize")
    commit(project)
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of it, with what DVC keeps."""
    return Path(shutil.copytree(made, tmp_path / "project"))
