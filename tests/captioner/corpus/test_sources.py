import os
from pathlib import Path

import pytest
from PIL import Image

from stages.captioner.command_line import InputError
from stages.captioner.corpus.pictures import Picture, open_picture
from stages.captioner.corpus.rows import RowReader
from stages.captioner.corpus.sources import find_pictures
from tests.captioner.corpus.archives import fill, png, write_parquet, write_tar


def names(source: object, column: str | None = None) -> list[str]:
    return [picture.name for picture in find_pictures(str(source), column)]


def test_a_folder_tree_has_pictures_tars_and_parquet(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = fill(tmp_path / "archive", pictures, 12)
    (folder / ".hidden.png").write_bytes(png(pictures[0]))
    (folder / "notes.txt").write_text("no picture")
    tar = write_tar(folder / "shard.tar", {"a.png": png(pictures[0]), "a.json": b"{}", "deep/b.jpg": b"cut"})
    table = write_parquet(folder / "table.parquet", image=[png(pictures[1]), b""])
    expected = [str(folder / f"{number // 10:02}" / f"{number:04}.png") for number in range(12)]
    expected += [f"{tar}#a.png", f"{tar}#deep/b.jpg", f"{table}#0", f"{table}#1"]
    assert names(folder) == expected


def test_a_list_names_pictures_relative_to_its_folder(tmp_path: Path, picture_files: list[Path]) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"0.png\n\n  {picture_files[1]}\nabsent.png\ns3://bucket/a b.png\n")
    assert names(file) == [
        str(picture_files[0]),
        str(picture_files[1]),
        str(tmp_path / "absent.png"),
        "s3://bucket/a b.png",
    ]


def test_a_glob_names_files_of_any_depth(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = fill(tmp_path / "archive", pictures, 21)
    assert len(names(f"{folder}/**/*.png")) == 21
    assert names(f"{folder}/02/*") == [str(folder / "02" / "0020.png")]
    (tmp_path / "odd[1]").mkdir()
    odd = fill(tmp_path / "odd[1]", pictures, 1)
    assert names(odd) == [str(odd / "00" / "0000.png")]


def test_columns_are_found_where_there_is_one_choice(tmp_path: Path, pictures: list[Image.Image]) -> None:
    images = [{"bytes": png(picture), "path": "x.png"} for picture in pictures]
    nested = write_parquet(tmp_path / "nested.parquet", image=images, label=[1, 2, 3, 4])
    assert [picture.member for picture in find_pictures(str(nested))] == ["image.bytes"] * 4
    paths = write_parquet(tmp_path / "paths.parquet", file_name=["0.png", "b/1.png"], text=["a", "b"])
    assert names(paths) == [str(tmp_path / "0.png"), str(tmp_path / "b/1.png")]
    assert names(paths, "text") == [str(tmp_path / "a"), str(tmp_path / "b")]
    two = write_parquet(tmp_path / "two.parquet", left=[b"1"], right=[b"2"])
    with pytest.raises(InputError, match=r"has left, right: name the column .* by --column"):
        names(two)
    assert names(two, "right") == [f"{two}#0"]
    with pytest.raises(InputError, match="--column"):
        names(two, "middle")
    for table in (write_parquet(tmp_path / "n.parquet", number=[1]), write_parquet(tmp_path / "l.parquet", i=[[b"1"]])):
        with pytest.raises(InputError, match="has no columns of text or bytes: name the column"):
            names(table)


def test_a_column_s_name_may_have_dots(tmp_path: Path, pictures: list[Image.Image]) -> None:
    table = write_parquet(tmp_path / "dots.parquet", **{"image.jpg": [png(pictures[0])]})
    [picture] = find_pictures(str(table))
    assert open_picture(picture, RowReader().read(picture)).tobytes() == pictures[0].tobytes()


def test_names_with_backslashes_are_found_as_they_were_meant(tmp_path: Path, pictures: list[Image.Image]) -> None:
    """The one that is called so first, as Linux has such names."""
    fill(tmp_path, pictures, 2)
    (tmp_path / "00\\0001.png").write_bytes(png(pictures[1]))
    windows = ["00\\0000.png", "00\\0001.png", ".\\00\\0000.png", "absent\\0000.png"]
    expected = [str(tmp_path / name) for name in ("00/0000.png", "00\\0001.png", "00/0000.png", "absent/0000.png")]
    (tmp_path / "list.txt").write_bytes("\r\n".join(windows).encode("utf-16"))
    assert names(tmp_path / "list.txt") == expected
    assert names(write_parquet(tmp_path / "paths.parquet", file_name=windows)) == expected


@pytest.mark.parametrize("source", ["absent", "absent/*.png"])
def test_what_is_not_there_is_said_or_empty(source: str, tmp_path: Path) -> None:
    if "*" in source:
        assert names(tmp_path / source) == []
    else:
        with pytest.raises(InputError, match=r"there is nothing at .*absent: check the name"):
            names(tmp_path / source)


@pytest.mark.parametrize("name", ["shard.tar", "table.parquet", "list.txt"])
def test_pointers_of_git_lfs_are_said(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    with pytest.raises(InputError, match=rf"{name} is a pointer of Git LFS, not the file itself: run `git lfs pull`"):
        names(tmp_path / name)


@pytest.mark.parametrize("name", ["captions.csv", "metadata.jsonl", "shard.tar.gz", "photos.ZIP"])
def test_what_is_no_list_is_not_read_as_one(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("0.png,a dog\n")
    with pytest.raises(InputError, match=rf"{name} is no archive that is known here, .*: unpack it, or list"):
        names(tmp_path / name)


def test_damaged_containers_are_said(tmp_path: Path) -> None:
    for name in ("broken.tar", "broken.parquet"):
        (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
        with pytest.raises(InputError, match=rf"the pictures of .*{name} can't be listed"):
            names(tmp_path / name)


def test_members_and_rows_open_as_their_files_would(tmp_path: Path, pictures: list[Image.Image]) -> None:
    contents = [png(picture) for picture in pictures]
    tar = write_tar(tmp_path / "shard.tar", {f"{number}.png": content for number, content in enumerate(contents)})
    for picture, expected in zip(find_pictures(str(tar)), pictures, strict=True):
        assert open_picture(picture).tobytes() == expected.tobytes()
    table = write_parquet(tmp_path / "table.parquet", image=contents)
    reader = RowReader()
    found = list(find_pictures(str(table)))
    for number in (0, 1, 3, 2, 0, 3):  # on, over a group, back within one, back to another
        image = open_picture(found[number], reader.read(found[number]))
        assert image.tobytes() == pictures[number].tobytes()


def test_what_can_t_be_opened_is_said_by_its_own_name(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "shard.tar", {"a.png": b"no picture"})
    [member] = find_pictures(str(tar))
    with pytest.raises(InputError, match=rf"^{tar}#a.png is not a picture that can be read"):
        open_picture(member)
    table = write_parquet(tmp_path / "table.parquet", image=[b"x", None])
    _, empty = find_pictures(str(table))
    with pytest.raises(InputError, match=rf"^{table}#1 has no bytes"):
        RowReader().read(empty)
    with pytest.raises(InputError, match=r"gone.tar#a.png does not exist"):
        open_picture(Picture(str(tmp_path / "gone.tar"), "a.png", 512, 10))


def test_paths_that_are_no_text_are_kept(tmp_path: Path, pictures: list[Image.Image]) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    odd.write_bytes(png(pictures[0]))
    [picture] = find_pictures(str(tmp_path))
    assert open_picture(picture).size == pictures[0].size
