"""Checkpoints pushed to real servers and pulled from them, by the README's commands."""

import getpass
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.sharing.conftest import VARIANT
from tests.sharing.servers import SSHD, serve, serve_ssh
from tests.test_pipeline import shell
from tests.test_readme import code_blocks

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "a secret of the usual length: 40 letters"
BLOCKS = code_blocks("Share checkpoints", "sh")
KINDS = {block[2:].splitlines()[0].partition(",")[0].partition(";")[0]: block for block in BLOCKS if block[0] == "#"}
PUBLISH = next(block for block in BLOCKS if "git push\n" in block)


@contextmanager
def folder(place: Path, patch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    yield {"/srv/blip": str(place / "blip")}


@contextmanager
def s3(place: Path, patch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    (place / "bucket").mkdir()
    patch.setenv("KEY", KEY)
    patch.setenv("SECRET", SECRET)
    with serve("s3", place, place.parent / "log", "--auth-key", f"{KEY},{SECRET}") as address:
        yield {"https://s3.example.com": f"http://{address}"}


@contextmanager
def ssh(place: Path, patch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    if SSHD is None:
        pytest.skip("there is no OpenSSH server on this machine")
    (place.parent / "ssh").mkdir()
    patch.setenv("USER", getpass.getuser())
    with serve_ssh(place.parent / "ssh") as (address, home):
        patch.setenv("HOME", str(home))
        yield {"example.com/srv/blip": f"{address}{place / 'blip'}"}


@contextmanager
def webdav(place: Path, patch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    (place / "blip").mkdir()
    patch.setenv("USER", "me")
    patch.setenv("PASSWORD", SECRET)
    with serve("webdav", place, place.parent / "log", "--user", "me", "--pass", SECRET) as address:
        yield {"webdavs://example.com": f"webdav://{address}"}


SERVERS = {"A folder": folder, "S3": s3, "SSH": ssh, "WebDAV": webdav}


def follow(project: Path, block: str, places: dict[str, str]) -> str:
    """Runs a block of the README, with servers of this test in place of its examples."""
    for example, place in places.items():
        assert example in block
        block = block.replace(example, place)
    return shell(project, "bash", "-ec", block)


def publish(project: Path, remote: str = "team") -> Path:
    """Runs what the README says to do once there is a remote; returns the Git repository that it pushes to."""
    origin = project.parent / "origin.git"
    shell(project, "git", "clone", "-q", "--bare", ".", str(origin))
    shell(project, "git", "remote", "add", "origin", str(origin))
    shell(project, "git", "config", "push.autoSetupRemote", "true")
    for role in ("name", "email"):
        shell(project, "git", "config", f"user.{role}", "test@localhost")
    shell(project, "bash", "-ec", PUBLISH)
    return origin


def clone(origin: Path, name: str = "colleague") -> Path:
    shell(origin.parent, "git", "clone", "-q", str(origin), name)
    return origin.parent / name


def bytes_of(checkpoint: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in checkpoint.iterdir()}


def would_run(project: Path) -> set[str]:
    lines = shell(project, "dvc", "repro", "--dry", "optimize").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage ")}


def fails(project: Path, *command: str, **environment: str) -> str:
    """What a command says that must fail."""
    process = subprocess.run(
        command, cwd=project, env={**os.environ, **environment}, capture_output=True, encoding="utf-8", timeout=120
    )
    assert process.returncode != 0, process.stdout
    assert "Traceback" not in process.stderr
    return process.stderr


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_colleague_pulls_what_was_pushed_and_rebuilds_nothing(
    kind: str, project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SERVERS[kind](store, monkeypatch) as places:
        follow(project, KINDS[kind], places)
        origin = publish(project)
        colleague = clone(origin)
        for line in KINDS[kind].splitlines():
            if "--local" in line:
                shell(colleague, "bash", "-c", line)
        assert shell(colleague, "git", "status", "--porcelain") == ""
        shell(colleague, "dvc", "pull")
    assert bytes_of(colleague / "models" / VARIANT) == bytes_of(project / "models" / VARIANT)
    assert would_run(colleague) == {"host"}


def test_every_kind_in_the_readme_is_tried() -> None:
    assert KINDS.keys() == {*SERVERS, "HTTP"}


def test_readers_take_from_a_web_server_and_can_not_write(project: Path, store: Path) -> None:
    follow(project, KINDS["A folder"], {"/srv/blip": str(store / "blip")})
    with serve("http", store, store.parent / "log") as address:
        follow(project, KINDS["HTTP"], {"https://example.com": f"http://{address}"})
        reader = clone(publish(project))
        shutil.move(store / "blip", store / "away")
        assert "failed" in fails(reader, "dvc", "pull")
        shutil.move(store / "away", store / "blip")
        shell(reader, "dvc", "remote", "remove", "team")
        shell(reader, "dvc", "pull", "--remote", "public")
        assert would_run(reader) == {"host"}
        (reader / "new.txt").write_text("of the reader")
        shell(reader, "dvc", "add", "new.txt")
        assert "Method Not Allowed" in fails(reader, "dvc", "push", "--remote", "public")
    assert bytes_of(reader / "models" / VARIANT) == bytes_of(project / "models" / VARIANT)


def test_ci_needs_no_configuration_for_s3_and_a_wrong_key_is_refused(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3(store, monkeypatch) as places:
        follow(project, KINDS["S3"], places)
        runner = clone(publish(project))
        own = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
        said = fails(runner, "dvc", "pull", **own | {"AWS_SECRET_ACCESS_KEY": "wrong"})
        assert "failed to connect to s3" in said and "Forbidden" in said
        for name, value in own.items():
            monkeypatch.setenv(name, value)
        shell(runner, "dvc", "pull")
    assert would_run(runner) == {"host"}


def stored(store: Path, md5: str) -> Path:
    return store / "blip/files/md5" / md5[:2] / md5[2:]


@pytest.mark.parametrize(("fault", "sentence"), [("damaged", "Checkout failed"), ("missing", "failed to transfer")])
def test_a_fault_of_a_remote_is_told_spoils_no_cache_and_can_be_mended(
    fault: str, sentence: str, project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder(store, monkeypatch) as places:
        follow(project, KINDS["A folder"], places)
    origin = publish(project)
    right = (project / "models" / VARIANT / "encoder.bin").read_bytes()
    file = stored(store, hashlib.md5(right).hexdigest())
    assert file.read_bytes() == right
    file.unlink()
    if fault == "damaged":
        file.write_bytes(right[:1000] + bytes([right[1000] ^ 1]) + right[1001:])
    colleague = clone(origin)
    assert sentence in fails(colleague, "dvc", "pull")
    assert not (colleague / "models" / VARIANT).exists()
    assert len([path for path in (colleague / ".dvc/cache/files").rglob("*") if path.is_file()]) > 10

    file.unlink(missing_ok=True)
    assert "up to date" in shell(project, "dvc", "push")
    (listed,) = yaml.safe_load((project / "dvc.lock").read_text())["stages"][f"optimize@{VARIANT}"]["outs"]
    stored(store, listed["md5"]).unlink()
    shell(project, "dvc", "push")
    shell(colleague, "dvc", "pull")
    assert bytes_of(colleague / "models" / VARIANT) == bytes_of(project / "models" / VARIANT)


@pytest.mark.parametrize("kind", ["S3", "SSH", "WebDAV"])
def test_a_kind_of_remote_without_its_package_is_an_error_that_names_it(kind: str, made: Path, tmp_path: Path) -> None:
    scheme = kind.lower()
    assert f"pip install dvc-{scheme}\n" in KINDS[kind]
    (tmp_path / f"dvc_{scheme}.py").write_text(f"raise ModuleNotFoundError('No module named dvc_{scheme}')")
    url = f"{scheme}://example.com/blip"
    said = fails(tmp_path, "dvc", "get-url", url, "here", PYTHONPATH=str(tmp_path))
    assert f"{scheme} is supported, but requires 'dvc-{scheme}' to be installed" in said
