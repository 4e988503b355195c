import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.inspection.bounds import LARGEST_JSON
from stages.captioner.inspection.tokenizer import TOKENIZER, inspect_tokenizer

PATTERN = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.fixture
def folder(baseline: Path, tmp_path: Path) -> Path:
    shutil.copyfile(baseline / TOKENIZER, tmp_path / TOKENIZER)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pre_tokenizer": PATTERN}, "pre_tokenizer.type"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}}, "normalizer.type"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "model.type"),
        ({"model": {"type": "WordPiece"}}, "model.unk_token"),
        ({"decoder": None}, "decoder"),
        ({"added_tokens": [{"id": 2**62, "content": "x"}]}, "added_tokens"),
        ({"added_tokens": [{"id": 1, "content": ""}]}, "added_tokens"),
        ({"added_tokens": [{}] * 10_001}, "added_tokens"),
        ({"version": "2.0"}, "version"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(folder: Path, changes: dict[str, Any], reason: str) -> None:
    inspect_tokenizer(folder)
    content = json.loads((folder / TOKENIZER).read_text())
    (folder / TOKENIZER).write_text(json.dumps(content | changes))
    with pytest.raises(InputError, match=rf"tokenizer\.json is not a tokenizer of BLIP \({reason}"):
        inspect_tokenizer(folder)


@pytest.mark.parametrize("words", [{}, {"a": -1}, {"a": 2**40}, {"a": "0"}, {"a": None}, {"a": True}, {"a" * 1001: 0}])
def test_words_without_numbers_are_refused(folder: Path, words: dict[str, Any]) -> None:
    content = json.loads((folder / TOKENIZER).read_text())
    content["model"]["vocab"] = words
    (folder / TOKENIZER).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"model\.vocab: "):
        inspect_tokenizer(folder)


def test_a_tokenizer_of_gigabytes_is_not_read(folder: Path) -> None:
    with (folder / TOKENIZER).open("r+b") as stream:
        stream.truncate(1024**4)
    with pytest.raises(InputError, match=f"more than the {LARGEST_JSON:,} bytes"):
        inspect_tokenizer(folder)
