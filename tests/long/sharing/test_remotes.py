"""Checkpoints pushed to real servers and pulled from them, by the README's commands."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.long.sharing.conftest import VARIANT
from tests.projects import shell
from tests.sharing.commands import KINDS, bytes_of, clone, fails, follow, publish
from tests.sharing.servers import KEY, SECRET, serve, serve_ssh, ssh_user


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
    user = ssh_user()
    if user is None:
        pytest.skip("there is no OpenSSH server on this machine, or none that may let this user in")
    (place.parent / "ssh").mkdir()
    patch.setenv("USER", user)
    with serve_ssh(user, place.parent / "ssh") as (address, home):
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


def would_run(project: Path) -> set[str]:
    lines = shell(project, "dvc", "repro", "--dry", "optimize").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage ")}


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
        colleague = clone(publish(project))
        pushed = shell(project, "git", "show", "HEAD:.dvc/config")
        assert "team" in pushed and KEY not in pushed and SECRET not in pushed
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
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        said = fails(runner, "dvc", "pull")
        assert "failed to connect to s3" in said and "Forbidden" in said
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
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
def test_a_kind_of_remote_without_its_package_is_an_error_that_names_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = kind.lower()
    assert f"pip install dvc-{scheme}\n" in KINDS[kind]
    (tmp_path / f"dvc_{scheme}.py").write_text(f"raise ModuleNotFoundError('No module named dvc_{scheme}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = fails(tmp_path, "dvc", "get-url", f"{scheme}://example.com/blip", "here")
    assert f"{scheme} is supported, but requires 'dvc-{scheme}' to be installed" in said
