"""Looks at OpenVINO's graphs before OpenVINO does: flat, of known operators, each constant within its .bin file."""

import math
import re
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from ..checkpoint import read_small
from ..command_line import SHORT, InputError, brief
from .bounds import LARGEST_GRAPH, MOST_OPERATORS, check_elements

# How many bits an element of a constant has.
BITS = {
    **dict.fromkeys(("boolean", "i8", "u8", "f8e4m3", "f8e5m2"), 8),
    **dict.fromkeys(("i16", "u16", "f16", "bf16"), 16),
    **dict.fromkeys(("i32", "u32", "f32"), 32),
    **dict.fromkeys(("i64", "u64", "f64"), 64),
    **dict.fromkeys(("i4", "u4"), 4),
}
# What the project's own graphs consist of, and what OpenVINO's conversions may put in place of it. None has a graph
# within, loops, reads a file or makes much out of nothing.
# fmt: off
OPERATORS = frozenset({
    "Abs", "Add", "Assign", "Broadcast", "Clamp", "Concat", "Const", "Convert", "ConvertLike", "Convolution", "CumSum",
    "Divide", "Equal", "Erf", "Exp", "FakeConvert", "FakeQuantize", "Floor", "Gather", "GatherND", "Gelu", "Greater",
    "GroupConvolution", "Less", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "MVN", "MatMul", "Maximum", "Minimum",
    "Multiply", "Negative", "NormalizeL2", "NotEqual", "Parameter", "Power", "ReadValue", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Result", "ScaledDotProductAttention", "Select",
    "ShapeOf", "Sigmoid", "Sign", "Slice", "SoftMax", "Softmax", "Split", "Sqrt", "SquaredDifference", "Squeeze",
    "StridedSlice", "Subtract", "Tanh", "TopK", "Transpose", "Unsqueeze", "VariadicSplit",
})
# fmt: on
VERSIONS = ("10", "11")
DEEPEST = 32  # elements within each other
PORTS = {"port", "dim", "input", "output", "edge"}
# Graphs in a graph, and what older versions had instead of constants.
WITHIN = {"body", "then_body", "else_body", "weights", "biases", "blobs"}
NUMBER = re.compile(r"\d{1,18}", re.ASCII)
# A side of a shape: known, unknown, or within bounds.
SIDE = re.compile(r"-1|\?|(\d{1,18})|\d{0,18}\.\.(\d{0,18})", re.ASCII)


def inspect_openvino_graph(graph: Path) -> None:
    """Looks at an .xml and at the size of the .bin beside it, without either's weights.

    Raises InputError if the graph is no plain XML, has an operator that no graph of this project has, a constant that
    does not lie within the .bin, or a shape of absurd size.
    """
    content = read_small(graph, LARGEST_GRAPH)
    weights = graph.with_suffix(".bin")
    try:
        _Inspection(weights.stat().st_size).parse(content)
    except OSError as error:
        raise InputError(f"{weights} can't be read ({error.strerror}): rebuild it") from None
    except (expat.ExpatError, ValueError) as error:
        raise InputError(f"{graph} is not a graph that may be opened ({brief(error)}): rebuild it") from None


class _Inspection:
    """One pass over an .xml. Raises ValueError at the first thing that is wrong."""

    def __init__(self, weight_bytes: int) -> None:
        self.weight_bytes = weight_bytes
        self.open: list[str] = []  # elements that have begun and not ended
        self.layers = 0
        self.operator = ""
        # In UTF-8, whatever the document says of itself: names and numbers that matter are ASCII.
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self.open.remove
        # Every declaration of an entity is within one.
        self.parser.StartDoctypeDeclHandler = _refuse_doctype

    def parse(self, content: bytes) -> None:
        self.parser.Parse(content, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.open.append(name)
        if len(self.open) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements lie within each other")
        if name in PORTS:  # most of all
            return
        if name == "layer":
            self._start_layer(attributes)
        elif name == "data":
            self._check_data(attributes)
        elif name in WITHIN:
            raise ValueError(f"it has <{name}>")
        elif name == "net" and attributes.get("version") not in VERSIONS:
            raise ValueError(f"it is no net of version {' or '.join(VERSIONS)}")

    def _start_layer(self, attributes: dict[str, str]) -> None:
        self.layers += 1
        self.operator = attributes.get("type", "")
        if self.layers > MOST_OPERATORS:
            raise ValueError(f"it has more than {MOST_OPERATORS} operators")
        if self.operator not in OPERATORS or not attributes.get("version", "").startswith("opset"):
            raise ValueError(f"its operator {SHORT.repr(self.operator)} is none of those of this project")

    def _check_data(self, attributes: dict[str, str]) -> None:
        elements = _elements(attributes.get("shape", ""))
        _elements(attributes.get("variable_shape", ""))
        if self.operator != "Const":
            if "offset" in attributes or "size" in attributes:
                raise ValueError(f"{self.operator} has weights")
            return
        bits = BITS.get(attributes.get("element_type", ""))
        if bits is None:
            raise ValueError(f"a constant has elements of type {SHORT.repr(attributes.get('element_type'))}")
        offset, size = (_number(attributes.get(name, "")) for name in ("offset", "size"))
        if offset + size > self.weight_bytes:
            raise ValueError(f"a constant ends at byte {offset + size} of a .bin of {self.weight_bytes} bytes")
        if elements is None or (elements * bits + 7) // 8 != size:
            raise ValueError(f"a constant of shape {SHORT.repr(attributes.get('shape'))} has {size} bytes")


def _refuse_doctype(*_: object) -> NoReturn:
    raise ValueError("it has a DOCTYPE")


def _number(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{SHORT.repr(text)} is no offset or size")
    return int(text)


def _elements(shape: str) -> int | None:
    """How many elements a shape has where all its sides are at their largest; None where one has no largest."""
    if not shape:
        return 1
    sides = [SIDE.fullmatch(side) for side in shape.replace(" ", "").split(",")]
    if None in sides:
        raise ValueError(f"{SHORT.repr(shape)} is no shape")
    known = [int(number) for side in sides if side and (number := side[1] or side[2])]
    check_elements(known)
    return math.prod(known) if len(known) == len(sides) else None
