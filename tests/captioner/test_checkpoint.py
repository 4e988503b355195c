import codecs
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stages.captioner.checkpoint import (
    LARGEST_MANIFEST,
    MANIFEST,
    WEIGHTS,
    checkpoint_bytes,
    read_manifest,
    read_small,
    remove_unfinished,
    replacing,
    seal,
    verify_files,
)
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from tests.conftest import PROJECT


@pytest.fixture
def copy(baseline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baseline, tmp_path / "copy"))


def test_a_whole_checkpoint_is_accepted(baseline: Path) -> None:
    manifest = read_manifest(baseline)
    verify_files(baseline, manifest)
    assert manifest.origin == {"folder": "data/local/tiny"}
    assert manifest.trained
    assert manifest.files.keys() >= {WEIGHTS, "config.json", "preprocessor_config.json", "tokenizer.json"}


def test_one_flipped_bit_is_found(copy: Path) -> None:
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match=f"{WEIGHTS} is damaged"):
        verify_files(copy, read_manifest(copy))


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"lacks config\.json"):
        verify_files(copy, read_manifest(copy))


def test_a_surplus_file_is_named(copy: Path) -> None:
    (copy / "extra.bin").touch()
    with pytest.raises(InputError, match=r"holds extra\.bin"):
        verify_files(copy, read_manifest(copy))


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 99}', "[1]"])
def test_a_manifest_of_another_kind_is_refused(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="not a manifest that this version can read"):
        read_manifest(copy)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "a/./b", "", ".", "a//b", "..\\x", "C:\\x", "C:x", "\\\\host\\share\\x"],
)
def test_a_manifest_that_names_files_elsewhere_is_refused(copy: Path, name: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"][WEIGHTS]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is not the name of a file in the checkpoint"):
        read_manifest(copy)


def test_a_manifest_of_another_version_says_which(copy: Path) -> None:
    (copy / MANIFEST).write_text('{"schema_version": 2, "more": []}')
    with pytest.raises(InputError, match="its schema_version is 2, not 3"):
        read_manifest(copy)


def test_a_manifest_of_gigabytes_is_not_read(copy: Path) -> None:
    with (copy / MANIFEST).open("r+b") as stream:
        stream.truncate(1024**4)
    with pytest.raises(InputError, match=f"more than the {LARGEST_MANIFEST:,} bytes"):
        read_manifest(copy)


def test_a_manifest_that_is_a_link_tells_nothing_of_anybody_s_file(copy: Path, tmp_path: Path) -> None:
    for number, content in enumerate(('{"password": "hunter2"}', "hunter2", '["hunter2"]')):
        secret = tmp_path / f"hunter{number}"
        secret.write_text(content)
        (copy / MANIFEST).unlink()
        (copy / MANIFEST).symlink_to(secret)
        with pytest.raises(InputError, match="no JSON with a schema_version") as caught:
            read_manifest(copy)
        assert "hunter2" not in str(caught.value) and "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"passes": {"quantize": []}}, "passes: quantize"),
        ({"passes": {"quantize": {"weight_bits": "8"}}}, "weight_bits"),
        ({"passes": {"quantize": {"dynamic_quantization_group": -1}}}, "dynamic_quantization_group"),
        ({"validated_on": ["x" * 1000]}, "validated_on"),
        ({"validated_on": ["avx2"] * 1000}, "validated_on"),
        ({"decoding": {"beams": 10**9}}, "beams"),
        ({"files": {str(number): {} for number in range(1001)}}, "1001 files are more than the 1000"),
        ({"files": {"x" * 300: {"bytes": 0, "sha256": "0" * 64}}}, "is not the name of a file"),
        ({"files": {"a\0b": {"bytes": 0, "sha256": "0" * 64}}}, "is not the name of a file"),
        ({"files": {"a": {"bytes": 10**13, "sha256": "0" * 64}}}, "more than 16 GB"),
    ],
)
def test_a_manifest_with_absurd_values_is_refused(copy: Path, changes: dict[str, Any], reason: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | changes))
    with pytest.raises(InputError, match=reason):
        read_manifest(copy)


@pytest.mark.parametrize("later", ["no_repeat_ngram", "banned_words", "drafts"])
def test_a_manifest_from_before_a_setting_was_thought_of_is_read(copy: Path, later: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["decoding"][later]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert getattr(read_manifest(copy).decoding, later) == getattr(Decoding(), later)


def test_a_manifest_that_an_editor_saved_is_read(copy: Path) -> None:
    content = (copy / MANIFEST).read_bytes().replace(b"\n", b"\r\n")
    before = read_manifest(copy)
    (copy / MANIFEST).write_bytes(codecs.BOM_UTF8 + content)
    assert read_manifest(copy) == before


STREWN = (
    ".DS_Store",
    "._config.json",
    "__MACOSX/._x",
    "Thumbs.db",
    "desktop.ini",
    ".directory",
    ".nfs000000000001",
    ".ipynb_checkpoints/config-checkpoint.json",
    ".config.json.swp",
    "config.json~",
)


def strew(folder: Path) -> None:
    for name in STREWN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"whatever")


def test_what_systems_strew_is_named_once_and_passed_over(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = checkpoint_bytes(copy)
    strew(copy)
    verify_files(copy, read_manifest(copy))
    (line,) = caplog.messages
    assert line.startswith(f"passed over in {copy}: ")
    assert line.endswith(f" and {len(STREWN) - 3} more")
    assert checkpoint_bytes(copy) == before
    (copy / "half.unfinished").touch()
    with pytest.raises(InputError, match=r"holds half\.unfinished,"):
        verify_files(copy, read_manifest(copy))


def test_what_systems_strew_is_not_sealed(copy: Path) -> None:
    manifest = read_manifest(copy)
    strew(copy)
    seal(copy, manifest)
    assert read_manifest(copy) == manifest


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", ".gitattributes", ".git/HEAD", ".cache/huggingface/download/config.json.metadata"],
)
def test_a_card_and_what_a_hub_keeps_beside_are_no_part_of_a_checkpoint(
    copy: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    manifest, size = read_manifest(copy), checkpoint_bytes(copy)
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    for text in ("a text", "another"):
        (copy / name).write_text(text)
        verify_files(copy, manifest)
    seal(copy, manifest)
    assert read_manifest(copy) == manifest and checkpoint_bytes(copy) == size
    assert not caplog.messages


@pytest.mark.parametrize("name", ["more/README.md", ".cache/other", "README.md.bin/x", "license.bin", ".gitmodules"])
def test_only_those_are(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).touch()
    with pytest.raises(InputError, match="does not list"):
        verify_files(copy, read_manifest(copy))


def test_a_card_that_was_once_sealed_may_change(copy: Path) -> None:
    manifest = read_manifest(copy)
    sealed = manifest.model_copy(update={"files": manifest.files | {"README.md": manifest.files[WEIGHTS]}})
    (copy / "README.md").write_text("a longer one")
    verify_files(copy, sealed)


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.getuid() != 0, reason="needs root")
def test_files_that_may_not_be_read_or_written_are_one_sentence(copy: Path) -> None:
    manifest = read_manifest(copy)
    try:
        os.seteuid(12345)
        for attempt in (lambda: read_manifest(copy), lambda: verify_files(copy, manifest)):
            with pytest.raises(InputError, match=r"can't be read \(Permission denied\)"):
                attempt()
        with pytest.raises(InputError, match=r"can't be written \(Permission denied\)"), replacing(copy / "new"):
            pass
    finally:
        os.seteuid(0)


def test_a_file_may_be_a_link_and_what_it_holds_counts(copy: Path, tmp_path: Path) -> None:
    stored = (copy / WEIGHTS).rename(tmp_path / "stored")
    (copy / WEIGHTS).symlink_to(stored)
    manifest = read_manifest(copy)
    verify_files(copy, manifest)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(InputError, match=f"{WEIGHTS} is damaged, its SHA-256"):
        verify_files(copy, manifest)


def test_a_folder_that_is_a_link_is_refused(copy: Path, tmp_path: Path) -> None:
    manifest = read_manifest(copy)
    (tmp_path / "elsewhere").mkdir()
    (copy / "below").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="below is neither a file nor a link to one"):
        verify_files(copy, manifest)


@pytest.mark.parametrize("name", [WEIGHTS, "surplus"])
@pytest.mark.parametrize(
    "put", [os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to("/dev/zero")]
)
def test_what_is_no_file_is_refused_and_not_read(copy: Path, name: str, put: Callable[[Path], None]) -> None:
    manifest = read_manifest(copy)
    (copy / name).unlink(missing_ok=True)
    put(copy / name)
    with pytest.raises(InputError, match=f"{name} is neither a file nor a link to one"):
        verify_files(copy, manifest)
    with pytest.raises(InputError, match=f"{name} can't be read"):
        read_small(copy / name, 10)


def test_a_folder_of_many_files_is_no_checkpoint(copy: Path) -> None:
    manifest = read_manifest(copy)
    for number in range(2000):
        (copy / str(number)).mkdir()
    with pytest.raises(InputError, match="holds more than 1000 files"):
        verify_files(copy, manifest)


def test_a_file_of_another_size_is_not_read(copy: Path) -> None:
    with (copy / WEIGHTS).open("r+b") as stream:
        stream.truncate(1024**4)
    with pytest.raises(InputError, match=f"{WEIGHTS} is damaged, its size"):
        verify_files(copy, read_manifest(copy))


def test_no_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dvc repro"):
        read_manifest(tmp_path / "absent")
    with pytest.raises(InputError, match=f"has no {MANIFEST}"):
        read_manifest(tmp_path)


def test_replacing_leaves_the_old_directory_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), replacing(target) as unfinished:
        (unfinished / "new").touch()
        raise RuntimeError
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old"]
    with replacing(target) as unfinished:
        (unfinished / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/new"]


def test_who_replaces_what_another_is_still_writing_waits(tmp_path: Path) -> None:
    target = tmp_path / "out"
    second_writes = threading.Event()

    def write_second() -> None:
        with replacing(target) as unfinished:
            second_writes.set()
            (unfinished / "file").write_text("second")

    with ThreadPoolExecutor() as pool:
        with replacing(target) as unfinished:
            second = pool.submit(write_second)
            assert not second_writes.wait(timeout=0.3)
            (unfinished / "file").write_text("first")
        second.result()
    assert (target / "file").read_text() == "second"
    assert os.listdir(tmp_path) == ["out"]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder in which a process died while it replaced «out»."""
    dying = """
import os, signal, sys
from pathlib import Path
from stages.captioner.checkpoint import replacing
with replacing(Path(sys.argv[1])) as unfinished:
    (unfinished / "half").write_text("of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = tmp_path / "left"
    ended = subprocess.run([sys.executable, "-c", dying, folder / "out"], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert os.listdir(folder)
    return folder


def test_what_a_dead_process_was_writing_is_in_nobody_s_way(left: Path) -> None:
    with replacing(left / "out") as unfinished:
        (unfinished / "file").write_text("whole")
    assert os.listdir(left) == ["out"]
    assert os.listdir(left / "out") == ["file"]


def test_what_dead_processes_were_writing_is_removed_and_nothing_else(left: Path) -> None:
    with replacing(left / "other") as unfinished:
        (unfinished / "file").write_text("whole")
        remove_unfinished(left)
    assert os.listdir(left) == ["other"]
    assert os.listdir(left / "other") == ["file"]


def test_replacing_follows_a_link_and_replaces_what_is_protected(tmp_path: Path) -> None:
    stored, elsewhere, link = tmp_path / "stored", tmp_path / "elsewhere" / "real", tmp_path / "out"
    stored.write_text("DVC's")
    stored.chmod(0o444)
    (elsewhere / "below").mkdir(parents=True)
    (elsewhere / "symbolic").symlink_to(stored)
    (elsewhere / "below" / "hard").hardlink_to(stored)
    (elsewhere / "below").chmod(0o555)
    elsewhere.chmod(0o555)
    link.symlink_to(elsewhere)
    for target in (link, elsewhere, link):
        with replacing(target) as unfinished:
            (unfinished / "new").touch()
        assert [path.name for path in link.iterdir()] == ["new"]
        assert link.is_symlink()
    assert (stored.read_text(), stat.S_IMODE(stored.stat().st_mode)) == ("DVC's", 0o444)
    assert sorted(path.name for path in elsewhere.parent.iterdir()) == ["real"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "out") as unfinished:
            (unfinished / "below").mkdir(mode=0o700)
            (unfinished / "below" / "file").touch(mode=0o600)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in (".", "below", "below/file")]
    assert modes == [0o777 & ~umask, 0o777 & ~umask, 0o666 & ~umask]
