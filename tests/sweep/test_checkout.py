"""Checkouts as people have them: in larger repositories, as worktrees, submodules, shallow or of another user."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.sweep.checkout import clone_last_commit, git
from tests.conftest import RunStage, assert_one_sentence
from tests.projects import shell


def make_repository(folder: Path) -> Path:
    """Two commits; the second has a file `second`, below `team/captions` too."""
    (folder / "team/captions").mkdir(parents=True)
    shell(folder, "git", "init", "-q")
    for name in ("first", "second"):
        (folder / name).touch()
        (folder / "team/captions" / name).touch()
        shell(folder, "git", "add", ".")
        shell(folder, "git", "commit", "-q", "-m", name)
    return folder


def subfolder(repository: Path) -> Path:
    return repository / "team/captions"


def worktree(repository: Path) -> Path:
    shell(repository, "git", "worktree", "add", "-q", "../another place", "-b", "other")
    return repository.parent / "another place"


def worktrees_subfolder(repository: Path) -> Path:
    return worktree(repository) / "team/captions"


def submodule(repository: Path) -> Path:
    above = make_repository(repository.parent / "above")
    shell(above, "git", "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository), "captions")
    return above / "captions"


def shallow(repository: Path) -> Path:
    shell(repository.parent, "git", "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    return repository.parent / "shallow"


def detached(repository: Path) -> Path:
    shell(repository, "git", "checkout", "-q", "--detach")
    return repository


def with_relative_paths(repository: Path) -> Path:
    shell(repository, "git", "config", "diff.relative", "true")
    return subfolder(repository)


KINDS = [subfolder, worktree, worktrees_subfolder, submodule, shallow, detached, with_relative_paths]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_checkout_can_be_cloned(
    tmp_path: Path, kind: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = kind(make_repository(tmp_path / "a repository"))
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "of a hook"))
    clone = clone_last_commit(Path("apart"))
    assert {"first", "second"} <= {path.name for path in clone.iterdir()}
    monkeypatch.delenv("GIT_DIR")
    assert git(clone, "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")


def as_a_zip(folder: Path) -> None:
    shutil.rmtree(folder / ".git")


def without_a_commit(folder: Path) -> None:
    as_a_zip(folder)
    shell(folder, "git", "init", "-q")


def uncommitted(folder: Path) -> None:
    shell(folder, "git", "rm", "-r", "-q", "--cached", "team")
    shell(folder, "git", "commit", "-q", "-m", "without it")


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (as_a_zip, "it is in no Git repository, as from a ZIP: clone the project instead"),
        (without_a_commit, "has no commit yet: git add"),
        (uncommitted, "is not in the last commit: git add"),
    ],
)
def test_what_can_not_be_cloned_is_a_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], part: str, run_stage: RunStage
) -> None:
    repository = make_repository(tmp_path / "repository")
    spoil(repository)
    assert_one_sentence(run_stage("sweep.checkout", "apart", cwd=subfolder(repository)), part)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_checkout_of_another_user_is_a_sentence(tmp_path: Path, run_stage: RunStage) -> None:
    repository = make_repository(tmp_path / "repository")
    shell(tmp_path, "chown", "-R", "12345:12345", str(repository))
    said = run_stage("sweep.checkout", "apart", cwd=subfolder(repository), HOME=str(tmp_path), SUDO_UID="")
    remedy = f"git config --global --add safe.directory '{repository}'"
    assert_one_sentence(said, "it belongs to another user", remedy)
    subprocess.run(["bash", "-c", remedy], env={**os.environ, "HOME": str(tmp_path)}, check=True)
    again = run_stage("sweep.checkout", "apart", cwd=subfolder(repository), HOME=str(tmp_path))
    assert again.stdout == "apart/team/captions\n", again.stderr


def test_without_git_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(InputError, match="no command git: install Git"):
        git(tmp_path, "status")
