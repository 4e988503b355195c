"""What models/README.md shows, done word for word."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from stages.captioner.server.application import APIS
from tests.captioner.server.servers import Server, alone
from tests.readmes import code_blocks

PAGE = ("models/README.md", "Serve captions to other programs")
ADDRESS = "http://127.0.0.1:8080"


def test_the_page_s_lines_caption(
    server: Server,
    checkpoint: Path,
    pictures: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (lines,) = code_blocks(*PAGE, "python")
    assert ADDRESS in lines
    pictures[0].save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(lines.replace(ADDRESS, server.url), {})
    with Image.open(tmp_path / "photo.jpg") as photo:
        [expected] = alone(checkpoint, [photo])
    assert capsys.readouterr().out == f"{expected.text}\n" * 2


def test_photoprism_is_told_a_path_that_there_is() -> None:
    (text,) = code_blocks(*PAGE, "yaml")
    [model] = yaml.safe_load(text)["Models"]
    assert model["Service"]["Uri"].removeprefix(ADDRESS) in APIS and model["Service"]["FileScheme"] == "data"
