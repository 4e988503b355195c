import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT

ATTRIBUTES = ".gitattributes"


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def top() -> Path:
    """The folder of the repository that the project is in, or lies in somewhere."""
    try:
        return Path(git(PROJECT, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("the project is in no Git repository, as from a ZIP")


@pytest.mark.parametrize("settings", [("core.autocrlf=true",), ("core.autocrlf=false", "core.eol=crlf")])
def test_a_checkout_has_the_bytes_of_the_commit(tmp_path: Path, settings: tuple[str, ...], top: Path) -> None:
    options = [part for setting in settings for part in ("-c", setting)]
    git(tmp_path, "clone", "-q", *options, "--no-hardlinks", str(top), "clone")
    clone = tmp_path / "clone" / PROJECT.relative_to(top)
    assert git(clone, "status", "--porcelain") == b""
    names = git(clone, "ls-files", "-z").decode().rstrip("\0").split("\0")
    assert ATTRIBUTES in names
    for name in names:
        assert (clone / name).read_bytes() == git(clone, "cat-file", "blob", f"HEAD:./{name}"), name


@pytest.mark.usefixtures("top")
def test_no_file_in_git_needs_to_be_normalized() -> None:
    listing = git(PROJECT, "ls-files", "--eol").decode().splitlines()
    assert listing
    assert not [line for line in listing if line.startswith(("i/crlf", "i/mixed"))]


def test_what_is_new_becomes_text_with_plain_newlines_or_stays_binary(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ATTRIBUTES).write_bytes((PROJECT / ATTRIBUTES).read_bytes())
    (tmp_path / "note.md").write_bytes(b"one\r\ntwo\r\n")
    (tmp_path / "weights.bin").write_bytes(b"one\r\ntwo\r\n")
    git(tmp_path, "-c", "core.safecrlf=false", "add", ".")
    assert git(tmp_path, "cat-file", "blob", ":note.md") == b"one\ntwo\n"
    assert git(tmp_path, "cat-file", "blob", ":weights.bin") == b"one\r\ntwo\r\n"
