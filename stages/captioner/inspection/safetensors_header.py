"""Looks at the header of a .safetensors file: tensors of sane shapes, side by side until the file's end."""

import math
import os
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ..checkpoint import open_regular
from ..command_line import SHORT, InputError, brief
from .bounds import LARGEST_HEADER, MOST_TENSORS, check_elements

PREFIX = 8  # bytes that hold the header's length
METADATA = "__metadata__"
# How many bytes an element has, of those types that PyTorch has too.
BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}


def inspect_safetensors(file: Path) -> None:
    """Reads a file's header and nothing else.

    Raises InputError if the header is absurdly long, or if its tensors are not the bytes behind it, each once.
    """
    try:
        with open_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(PREFIX), "little")
            if length > min(size - PREFIX, LARGEST_HEADER):
                raise ValueError(f"its header claims {length} bytes")
            _check(from_json(stream.read(length)), size - PREFIX - length)
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror}): rebuild it") from None
    except ValueError as error:
        raise InputError(f"{file} is not whole safetensors ({brief(error)}): rebuild it") from None


def _check(header: Any, data_bytes: int) -> None:
    if not isinstance(header, dict) or len(header) > MOST_TENSORS:
        raise ValueError(f"its header is no object of at most {MOST_TENSORS} tensors")
    ranges = sorted(_range(name, entry) for name, entry in header.items() if name != METADATA)
    end = 0
    for first, last in ranges:
        if first != end:
            raise ValueError(f"no tensor, or more than one, has the byte {min(first, end)}")
        end = last
    if end != data_bytes:
        raise ValueError(f"its tensors have {end} bytes, and {data_bytes} are there")


def _range(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [first, last]}:
            numbers = [*shape, first, last]
        case _:
            raise ValueError(f"{SHORT.repr(name)} is described otherwise than a tensor")
    if not all(type(number) is int and number >= 0 for number in numbers) or dtype not in BYTES:
        raise ValueError(f"{SHORT.repr(name)} has a type, a shape or a place that no tensor has")
    check_elements(shape)
    if last - first != math.prod(shape) * BYTES[dtype]:
        raise ValueError(f"{SHORT.repr(name)} of shape {SHORT.repr(shape)} has {last - first} bytes")
    return first, last
