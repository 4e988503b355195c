"""Archives on a store of S3's protocol."""

from pathlib import Path

import pytest
from PIL import Image

from stages.captioner.corpus import storage
from stages.captioner.corpus.sources import find_pictures
from tests.captioner.corpus.archives import caption, fill, png, rows, write_parquet, write_tar
from tests.conftest import Build
from tests.sharing.servers import KEY, SECRET, serve


def test_pictures_tars_and_captions_lie_on_s3(
    build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    archive = fill(store / "bucket" / "an archive", pictures, 40)
    write_tar(archive / "shard.tar", {"a.png": png(pictures[0]), "b.png": b"no picture"})
    write_parquet(archive / "table.parquet", image=[png(pictures[1]), png(pictures[2]), png(pictures[3])])
    with serve("s3", store, tmp_path / "server.log", "--auth-key", f"{KEY},{SECRET}") as address:
        settings = {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        storage._open_store.cache_clear()
        globbed = [picture.path for picture in find_pictures("s3://bucket/an archive/*/000?.png")]
        assert globbed == [f"s3://bucket/an archive/00/000{number}.png" for number in range(10)]

        source, output, log = "s3://bucket/an archive", "s3://bucket/captions", tmp_path / "log"
        said = caption(build("onnx"), source, output, log=log, TMPDIR=str(temporary))
        assert "44 pictures captioned, 0 of them cut off, and 1 that can't be opened" in said
        again = caption(build("onnx"), source, output, log=log, TMPDIR=str(temporary)).removeprefix(said)
        assert again == said.splitlines(keepends=True)[-1]  # below what was said on the way, if that took long
        _look(store / "bucket" / "captions")
    storage._open_store.cache_clear()


def _look(output: Path) -> None:
    found = rows(output)
    assert [row["id"] for row in found] == list(range(45))
    assert {row["path"] for row in found} >= {
        "s3://bucket/an archive/03/0039.png",
        "s3://bucket/an archive/shard.tar#a.png",
    }
    [broken] = [row for row in found if row["error"]]
    assert broken["error"].startswith("s3://bucket/an archive/shard.tar#b.png is not a picture")
