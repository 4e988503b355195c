import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.inspection.configuration import (
    CONFIGURATION,
    READ_BESIDE,
    inspect_for_transformers,
    read_configuration,
)


@pytest.fixture
def copy(baseline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baseline, tmp_path / "copy"))


def change(file: Path, part: str | None, changes: dict[str, Any]) -> None:
    content = json.loads(file.read_text())
    (content[part] if part else content).update(changes)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("text_config", {"max_position_embeddings": 10**12}, "max_position_embeddings"),
        ("text_config", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ("text_config", {"vocab_size": 0}, "vocab_size"),
        ("text_config", {"bos_token_id": 2**40}, "not in the vocabulary"),
        ("text_config", {"sep_token_id": -1}, "sep_token_id"),
        ("text_config", {"pad_token_id": None}, "pad_token_id"),
        ("vision_config", {"image_size": 10**6}, "image_size"),
        ("vision_config", {"patch_size": 0}, "patch_size"),
        (None, {"projection_dim": 10**9}, "projection_dim"),
        (None, {"text_config": []}, "text_config"),
    ],
)
def test_absurd_sizes_are_refused(copy: Path, part: str | None, changes: dict[str, Any], reason: str) -> None:
    read_configuration(copy)
    change(copy / CONFIGURATION, part, changes)
    with pytest.raises(InputError, match=rf"not the configuration of a BLIP .*{reason}"):
        read_configuration(copy)


@pytest.mark.parametrize("file", [CONFIGURATION, "tokenizer_config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModel": "me/code--model.Model"}},
        {"more": [{"_attn_implementation": "me/kernels"}]},
        {"attn_implementation": "me/kernels:code"},
        {"vocab_file": "/etc/passwd"},
    ],
)
def test_what_names_code_or_files_elsewhere_is_refused(copy: Path, file: str, changes: dict[str, Any]) -> None:
    inspect_for_transformers(copy)
    change(copy / file, None, changes)
    with pytest.raises(InputError, match=rf"{file} may not be opened .* names something elsewhere"):
        inspect_for_transformers(copy)


@pytest.mark.parametrize("name", READ_BESIDE)
def test_what_transformers_would_read_beside_is_refused(copy: Path, name: str) -> None:
    (copy / name).touch()
    with pytest.raises(InputError, match="is no part of a checkpoint"):
        inspect_for_transformers(copy)
