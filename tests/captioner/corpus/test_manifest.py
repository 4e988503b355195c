import os
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.corpus import manifest
from stages.captioner.corpus.manifest import ManifestReader, count_pictures, write_manifest
from stages.captioner.corpus.pictures import Picture


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "captions" / "_corpus" / "manifest.parquet")


def test_pictures_are_found_by_their_numbers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "ROWS_IN_GROUP", 4)
    kept = [Picture(f"/a/{number}.png") for number in range(9)]
    kept += [Picture("/a/b.tar", "c.png", 512, 10), Picture("/a/d.parquet", "image", 3), Picture(os.fsdecode(b"/\xff"))]
    assert write_manifest(address, "/a", None, iter(kept)) == 12
    assert count_pictures(address, "/a", None) == 12
    reader = ManifestReader(address)
    assert reader.read(range(12)) == kept
    assert reader.read([11, 0, 9]) == [kept[11], kept[0], kept[9]]


def test_one_that_was_not_finished_is_none(address: str) -> None:
    def cut_off() -> "list[Picture]":
        raise InputError("the folder went away")

    with pytest.raises(InputError, match="went away"):
        write_manifest(address, "/a", None, (picture for _ in "x" for picture in cut_off()))
    assert count_pictures(address, "/a", None) is None
    with pytest.raises(InputError, match="there are no pictures in /a"):
        write_manifest(address, "/a", None, [])
    assert count_pictures(address, "/a", None) is None


def test_another_archive_s_is_refused(address: str) -> None:
    write_manifest(address, "/a", "image", [Picture("/a/0.png")])
    with pytest.raises(InputError, match=r"captions holds captions of /a: name another output"):
        count_pictures(address, "/b", "image")
    with pytest.raises(InputError, match="name another output"):
        count_pictures(address, "/a", None)
