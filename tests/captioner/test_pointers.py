"""Files that stand for others which are kept elsewhere, in all places where a file may be one."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.captioner.checkpoint import MANIFEST, WEIGHTS, read_manifest, verify_files
from stages.captioner.command_line import InputError, read_text, refuse_pointer
from stages.captioner.images import open_image, pictures_below
from stages.captioner.pointers import pointer_in_words

LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 12345\n"
)
ANNEX = "SHA256E-s12345--4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393.jpg"
LFS_REMEDY, ANNEX_REMEDY, DVC_REMEDY = (
    r"is a pointer of Git LFS, not the file itself: run `git lfs pull`",
    r"is kept by git-annex, and not here: run `git annex get`",
    r"is kept by DVC, and not here: run `dvc pull`",
)


def place(path: Path, kind: str) -> None:
    """Puts in a file's place what a clone has there before what it stands for is fetched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    match kind:
        case "LFS":
            path.write_text(LFS)
        case "LFS on Windows":
            path.write_text(LFS.replace("\n", "\r\n"))
        case "LFS with an extension":
            path.write_text(LFS.replace("oid", f"ext-0-case sha256:{'0' * 64}\noid", 1))
        case "LFS before its first version":
            path.write_text(LFS.replace("git-lfs.github.com", "hawser.github.com"))
        case "annex, locked":
            path.symlink_to(Path(".git/annex/objects/Vk/5p") / ANNEX / ANNEX)
        case "annex, unlocked":
            path.write_text(f"/annex/objects/{ANNEX}\n")
        case "annex without links":
            path.write_text(f"../.git/annex/objects/Vk/5p/{ANNEX}/{ANNEX}")
        case "DVC":
            path.with_name(f"{path.name}.dvc").write_text(f"outs:\n- md5: {'0' * 32}\n  path: {path.name}\n")


KINDS = {
    "LFS": LFS_REMEDY,
    "LFS on Windows": LFS_REMEDY,
    "LFS with an extension": LFS_REMEDY,
    "LFS before its first version": LFS_REMEDY,
    "annex, locked": ANNEX_REMEDY,
    "annex, unlocked": ANNEX_REMEDY,
    "annex without links": ANNEX_REMEDY,
    "DVC": DVC_REMEDY,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_is_a_pointer_is_named_as_what_it_is(tmp_path: Path, kind: str) -> None:
    place(tmp_path / "photo.jpg", kind)
    with pytest.raises(InputError, match=r"photo\.jpg " + KINDS[kind]):
        open_image(tmp_path / "photo.jpg")


def test_pictures_that_are_links_of_git_annex_are_not_passed_over(tmp_path: Path) -> None:
    place(tmp_path / "photo.jpg", "annex, locked")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    assert pictures_below(tmp_path) == [tmp_path / "photo.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_is_a_pointer_is_named_as_what_it_is(tmp_path: Path, kind: str) -> None:
    place(tmp_path / "captions.json", kind)
    with pytest.raises(InputError, match=r"captions\.json " + KINDS[kind]):
        read_text(tmp_path / "captions.json")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_s_file_that_is_a_pointer_is_not_called_damaged(
    baseline: Path, tmp_path: Path, kind: str, name: str
) -> None:
    copy = Path(shutil.copytree(baseline, tmp_path / "copy"))
    (copy / name).unlink()
    place(copy / name, kind)
    with pytest.raises(InputError, match=name.replace(".", r"\.") + " " + KINDS[kind]):
        verify_files(copy, read_manifest(copy))


@given(st.binary(max_size=1100), st.booleans())
def test_what_is_no_pointer_is_not_called_one(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, lfs: bool
) -> None:
    assume(not content.startswith((b"version", b"/annex")))
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes((LFS.encode() if lfs else b"") + content)
    assert (pointer_in_words(path) is not None) == (lfs and path.stat().st_size < 1024)


def test_who_only_speaks_of_pointers_is_none_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text(f"A pointer begins with\n{LFS}")
    (tmp_path / "there.jpg").write_text("here")
    (tmp_path / "there.jpg.dvc").write_text("outs: []")
    (tmp_path / ".git/annex/objects").mkdir(parents=True)
    (tmp_path / ".git/annex/objects/here").write_text("here")
    (tmp_path / "fetched").symlink_to(".git/annex/objects/here")
    for name in ("pipe", "folder", "notes.txt", "there.jpg", "fetched", "absent", "nul\0"):
        refuse_pointer(tmp_path / name)
