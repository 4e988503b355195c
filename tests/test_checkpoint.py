import shutil
from pathlib import Path

import pytest

from stages.checkpoint import MANIFEST, WEIGHTS, read_manifest, replacing, verify_files
from stages.command_line import InputError


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
