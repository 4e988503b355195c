"""Checkpoints in the hands of those who have nothing but the project's address, by the README's commands."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stages.captioner.checkpoint import read_manifest, seal
from tests.conftest import PROJECT
from tests.long.captioner.test_package import install
from tests.long.export.test_elsewhere import NOBODY, ROOT, public
from tests.long.sharing.conftest import VARIANT
from tests.projects import change, commit, shell
from tests.readmes import code_blocks
from tests.sharing.commands import BLOCKS, KINDS, bytes_of, fails, follow, publish

__all__ = ["public"]  # a fixture

ADDRESS = "https://example.com/team/blip.git"
ONE_COMMAND = next(block for block in BLOCKS if block.startswith("dvc get"))
THREE_COMMANDS = next(block for block in BLOCKS if "blip-on-cpu-verify" in block)
REGISTER = next(block for block in BLOCKS if block.startswith("gto register"))
BY_VERSION = next(block for block in BLOCKS if block.startswith("gto show"))
(PYTHON,) = code_blocks("models/README.md", "Share checkpoints", "python")


@dataclass(frozen=True)
class Published:
    """A project that others know by its address, and the bytes of its checkpoint."""

    address: str
    project: Path
    store: Path
    checkpoint: dict[str, bytes]


@pytest.fixture
def published(project: Path, tmp_path: Path) -> Published:
    """Version v1.0.0 of the checkpoint, which is in production."""
    store = tmp_path / "store"
    follow(project, KINDS["A folder"], {"/srv/blip": str(store)})
    origin = publish(project)
    shell(project, "bash", "-ec", REGISTER)
    return Published(origin.as_uri(), project, store, bytes_of(project / "models" / VARIANT))


def new_project(folder: Path) -> Path:
    """A project of somebody else, who has DVC."""
    own = folder / "own project"
    shell(folder, "git", "init", "-q", str(own))
    shell(own, "dvc", "init", "-q")
    return own


def publish_another(project: Path) -> dict[str, bytes]:
    """The same checkpoint with other decoding, registered as v1.1.0; returns its bytes."""
    checkpoint = project / "models" / VARIANT
    manifest = read_manifest(checkpoint)
    shell(project, "dvc", "unprotect", f"models/{VARIANT}")
    seal(checkpoint, manifest.model_copy(update={"decoding": manifest.decoding.model_copy(update={"beams": 2})}))
    change(project, {"decoding.beams": 2})
    shell(project, "dvc", "commit", "--force", "optimize")
    commit(project)
    for line in ("dvc push", "git push", f"gto register {VARIANT} --version v1.1.0", "git push origin --tags"):
        shell(project, *line.split())
    return bytes_of(checkpoint)


def take_by_version(published: Published, folder: Path) -> dict[str, dict[str, bytes]]:
    """What the README's commands bring into a new folder, by the name that they give it."""
    folder.mkdir()
    shown = follow(folder, BY_VERSION, {ADDRESS: published.address})
    assert VARIANT in shown and "v1.0.0" in shown
    shell(folder, sys.executable, "-c", PYTHON.replace(ADDRESS, published.address))
    return {each.name: bytes_of(each) for each in folder.iterdir()}


def test_versions_stay_what_they_were_and_a_stage_is_what_was_last_assigned(
    published: Published, tmp_path: Path
) -> None:
    get, *follow_in_project = ONE_COMMAND.splitlines()
    own = new_project(tmp_path)
    first = published.checkpoint
    follow(own, follow_in_project[0], {ADDRESS: published.address})
    assert bytes_of(own / VARIANT) == first

    second = publish_another(published.project)
    assert first != second
    by_version = take_by_version(published, tmp_path / "before")
    assert by_version == dict.fromkeys(("v1.0.0", "production", "tagged", "by_python"), first)
    shell(own, "bash", "-ec", follow_in_project[1])
    assert bytes_of(own / VARIANT) == second
    follow(tmp_path, get, {ADDRESS: published.address})
    assert bytes_of(tmp_path / VARIANT) == second

    shell(published.project, "gto", "assign", VARIANT, "--version", "v1.1.0", "--stage", "production")
    shell(published.project, "git", "push", "origin", "--tags")
    (in_production,) = (line for line in BY_VERSION.splitlines() if "--stage production" in line)
    follow(tmp_path, in_production, {ADDRESS: published.address})
    assert bytes_of(tmp_path / "production") == second


def test_what_is_not_there_or_in_the_way_or_damaged_is_told(
    published: Published, tmp_path: Path, picture_files: list[Path]
) -> None:
    get = ("dvc", "artifacts", "get", published.address)
    assert f"Unable to find artifact '{VARIANT} @ v9.0.0'" in fails(tmp_path, *get, VARIANT, "--rev", "v9.0.0")
    assert "Unable to find artifact 'unheard_of'" in fails(tmp_path, *get, "unheard_of")
    assert "models/unheard_of" in fails(tmp_path, "dvc", "get", published.address, "models/unheard_of")
    (tmp_path / VARIANT).mkdir()
    (tmp_path / VARIANT / "mine.txt").write_text("not to be lost")
    assert "already exists locally" in fails(tmp_path, *get, VARIANT)
    assert [file.name for file in (tmp_path / VARIANT).iterdir()] == ["mine.txt"]

    md5 = hashlib.md5(published.checkpoint["encoder.bin"]).hexdigest()
    stored = published.store / "files/md5" / md5[:2] / md5[2:]
    stored.chmod(0o644)
    stored.write_bytes(published.checkpoint["encoder.bin"][:-1] + b"?")
    shell(tmp_path, *get, VARIANT, "--out", "damaged")
    command = (sys.executable, "-m", "stages.caption", "--checkpoint", str(tmp_path / "damaged"), str(picture_files[0]))
    assert "encoder.bin is damaged" in fails(PROJECT, *command)

    own = new_project(tmp_path)
    follow(own, ONE_COMMAND.splitlines()[1], {ADDRESS: published.address})
    assert bytes_of(own / VARIANT) == bytes_of(tmp_path / "damaged")
    stored.write_bytes(published.checkpoint["encoder.bin"])
    for path in (own / VARIANT, own / ".dvc/cache"):
        shutil.rmtree(path)
    shell(own, "dvc", "pull")
    assert bytes_of(own / VARIANT) == published.checkpoint


def test_three_commands_bring_a_caption_on_a_read_only_disk_to_a_stranger_with_the_package_alone(
    published: Published,
    public: Path,
    picture_files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get, *commands = THREE_COMMANDS.splitlines()
    follow(public, get, {ADDRESS: published.address})
    checkpoint = public / VARIANT
    assert bytes_of(checkpoint) == published.checkpoint
    for path in (*checkpoint.iterdir(), checkpoint):
        path.chmod(0o555 if path.is_dir() else 0o444)
    artifact = yaml.safe_load((published.project / "dvc.yaml").read_text())["artifacts"][VARIANT]
    extra = re.fullmatch(r"blip-on-cpu\[(.*)\]", artifact["meta"]["install"])
    assert extra
    binaries = install(PROJECT, extra[1], sys.executable, tmp_path / "environment")
    shutil.copyfile(picture_files[0], public / "photo.jpg")
    kept = {name: value for name, value in os.environ.items() if name.startswith(("LANG", "LC_"))}
    said = []
    for command, *arguments in map(str.split, commands):
        process = subprocess.run(
            [*(NOBODY if ROOT else ()), binaries / command, *arguments],
            cwd=public,
            env=kept,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert (process.returncode, process.stderr) == (0, "")
        said.append(process.stdout)
    verified, captioned = said
    assert VARIANT in verified
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    expected = shell(public, sys.executable, "-m", "stages.caption", "--checkpoint", VARIANT, "photo.jpg")
    assert captioned == expected
