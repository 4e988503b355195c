import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stages.captioner.command_line import InputError
from stages.captioner.inspection.safetensors_header import inspect_safetensors


def write(file: Path, header: Any, data: bytes = b"\0" * 16, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def tensor(first: int, last: int, shape: list[Any] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(last - first) // 4] if shape is None else shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "EOF"),
        (b"nonsense", "expected"),
        (b"[" * 100_000, "recursion"),
        ([], "no object"),
        ({"a": 1}, "otherwise than a tensor"),
        ({"a": tensor(0, 12)}, "12 bytes, and 16 are there"),
        ({"a": tensor(0, 20)}, "20 bytes, and 16 are there"),
        ({"a": tensor(0, 12), "b": tensor(8, 16)}, "no tensor, or more than one, has the byte 8"),
        ({"a": tensor(0, 4), "b": tensor(8, 16)}, "no tensor, or more than one, has the byte 4"),
        ({"a": tensor(4, 16)}, "no tensor, or more than one, has the byte 0"),
        ({"a": tensor(0, 16, [5])}, "has 16 bytes"),
        ({"a": tensor(0, 16, [-4])}, "that no tensor has"),
        ({"a": tensor(0, 16, [4.0])}, "that no tensor has"),
        ({"a": tensor(0, 16, [True, 4])}, "that no tensor has"),
        ({"a": tensor(0, 16, dtype="F7")}, "that no tensor has"),
        ({"a": tensor(0, 0, [0, 2**63]), "b": tensor(0, 16)}, "more than 2147483648 elements"),
        ({"a": tensor(0, 0, [0] * 9), "b": tensor(0, 16)}, "more than 8 sides"),
        ({"a": tensor(0, 16, [2**62, 2**62, 4])}, "more than 2147483648 elements"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path: Path, header: Any, reason: str) -> None:
    with pytest.raises(InputError, match=rf"weights is not whole safetensors .*{reason}"):
        inspect_safetensors(write(tmp_path / "weights", header))


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, 17])
def test_a_header_of_absurd_length_is_not_read(tmp_path: Path, length: int) -> None:
    file = write(tmp_path / "weights", b"", length=length)
    with pytest.raises(InputError, match=f"claims {length} bytes"):
        inspect_safetensors(file)
    with file.open("r+b") as stream:
        stream.truncate(2**42)
    with pytest.raises(InputError, match="not whole safetensors"):
        inspect_safetensors(file)


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(InputError, match="not whole safetensors"):
        inspect_safetensors(tmp_path / "weights")


shapes = st.lists(st.integers(0, 4), max_size=4)
dtypes = st.sampled_from([np.float32, np.int8, np.uint8, np.int64, np.float16, np.bool_])


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.text(max_size=5), st.tuples(shapes, dtypes), max_size=4), st.integers(0, 400))
def test_what_the_library_writes_is_accepted_and_what_it_refuses_is_refused(
    tmp_path: Path, tensors: dict[str, tuple[list[int], Any]], cut: int
) -> None:
    file = tmp_path / "weights"
    save_file(
        {name: np.zeros(shape, dtype) for name, (shape, dtype) in tensors.items() if name != "__metadata__"}, file
    )
    inspect_safetensors(file)
    file.write_bytes(file.read_bytes()[: -cut or None])
    try:
        load_file(file)
    except SafetensorError:
        with pytest.raises(InputError):
            inspect_safetensors(file)
    else:
        inspect_safetensors(file)
