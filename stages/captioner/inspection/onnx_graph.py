"""Looks at ONNX graphs before ONNX Runtime does: flat, of known operators, all weights within the file beside it.

Parsed by protobuf, which ONNX Runtime brings along and uses itself, so that both see the same graph; of ONNX's format,
only what has to be looked at is described here, and the rest is passed over.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from ..checkpoint import read_small
from ..command_line import SHORT, InputError, brief
from .bounds import LARGEST_GRAPH, MOST_OPERATORS, check_elements

# Messages of ONNX's onnx.proto, under names of our own, and the numbers of their fields; what is no message of these is
# a plain type. A star marks a field that may occur many times.
FORMAT = {
    "Model": {"graph": (7, "Graph"), "training": (20, "*Anything"), "functions": (25, "*Anything")},
    "Graph": {
        "nodes": (1, "*Node"),
        "initializers": (5, "*Tensor"),
        "inputs": (11, "*Value"),
        "outputs": (12, "*Value"),
        "values": (13, "*Value"),
        "sparse": (15, "*Anything"),
    },
    "Node": {
        "inputs": (1, "*bytes"),
        "operator": (4, "bytes"),
        "attributes": (5, "*Attribute"),
        "domain": (7, "bytes"),
    },
    "Attribute": {
        "name": (1, "bytes"),
        "integer": (3, "int64"),
        "tensor": (5, "Tensor"),
        "graph": (6, "Anything"),
        "tensors": (10, "*Tensor"),
        "graphs": (11, "*Anything"),
        "sparse": (22, "Anything"),
        "sparses": (23, "*Anything"),
    },
    "Tensor": {
        "sides": (1, "*int64"),
        "type": (2, "int32"),
        "name": (8, "bytes"),
        "external": (13, "*Entry"),
        "location": (14, "int32"),
    },
    "Entry": {"key": (1, "bytes"), "value": (2, "bytes")},
    "Value": {"type": (2, "Type")},
    "Type": {
        "tensor": (1, "TensorType"),
        "sequence": (4, "Anything"),
        "map": (5, "Anything"),
        "sparse": (8, "Anything"),
        "optional": (9, "Anything"),
    },
    "TensorType": {"shape": (2, "Shape")},
    "Shape": {"sides": (1, "*Side")},
    "Side": {"value": (1, "int64")},
    "Anything": {},
}
# How many bytes an element of a tensor has, by the number of its type.
BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
EXTERNAL = 1
FLOAT32, UINT8 = 1, 2
LONGEST_NUMBER = 18  # digits
# What the project's own graphs consist of, and what exporters may put in place of it. None has a graph within, loops,
# reads a file or makes much out of nothing.
# fmt: off
OPERATORS = frozenset({
    "Abs", "Add", "And", "Attention", "Cast", "CastLike", "Clip", "Concat", "Constant", "Conv", "CumSum",
    "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather",
    "GatherND", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "Identity", "LayerNormalization", "Less", "LessOrEqual",
    "Log", "MatMul", "MatMulInteger", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "QuantizeLinear", "Reciprocal",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Slice",
    "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where",
})
# fmt: on
# ONNX Runtime's own operator for products with weights in blocks, which trusts its attributes: see `_check_blocks`.
BLOCKS, BLOCKS_DOMAIN = "MatMulNBits", b"com.microsoft"


def _describe() -> Any:
    """The class of a whole model, in a pool of its own, as the library `onnx` may be there too."""
    file = FileDescriptorProto(name="inspected.proto", package="inspected")
    for message, fields in FORMAT.items():
        description = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = description.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            plain = kind.removeprefix("*")
            if plain in FORMAT:
                field.type_name = f".inspected.{plain}"
            field.type = field.TYPE_MESSAGE if plain in FORMAT else field.Type.Value(f"TYPE_{plain.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("inspected.Model"))


MODEL = _describe()


def inspect_onnx_graph(graph: Path) -> None:
    """Looks at an .onnx and at the size of the file with its weights, without the weights.

    Raises InputError if it is no ONNX, has an operator that no graph of this project has, names another file or a place
    that does not lie within it, or has a shape of absurd size.
    """
    content = read_small(graph, LARGEST_GRAPH)
    weights = graph.with_name(f"{graph.name}.data")
    try:
        _check_model(MODEL.FromString(content), _Room(weights.name, weights.stat().st_size, len(content)))
    except OSError as error:
        raise InputError(f"{weights} can't be read ({error.strerror}): rebuild it") from None
    except (DecodeError, ValueError) as error:
        raise InputError(f"{graph} is not a graph that may be opened ({brief(error)}): rebuild it") from None


class _Room(NamedTuple):
    """Where weights may lie."""

    file: str
    file_bytes: int
    graph_bytes: int


def _check_model(model: Any, room: _Room) -> None:
    graph = model.graph
    if model.training or model.functions or graph.sparse:
        raise ValueError("it has functions, training or sparse tensors")
    if len(graph.nodes) > MOST_OPERATORS:
        raise ValueError(f"it has more than {MOST_OPERATORS} operators")
    weights = {tensor.name: tensor for tensor in graph.initializers}
    if len(weights) < len(graph.initializers):
        raise ValueError("two tensors have one name")
    for node in graph.nodes:
        _check_node(node, room, weights)
    for tensor in graph.initializers:
        _check_tensor(tensor, room)
    for value in (*graph.inputs, *graph.outputs, *graph.values):
        _check_value(value)


def _check_node(node: Any, room: _Room, weights: Mapping[bytes, Any]) -> None:
    operator = node.operator.decode("ascii", "replace")
    if operator == BLOCKS and node.domain == BLOCKS_DOMAIN:
        _check_blocks(node, weights)
    elif operator not in OPERATORS or node.domain not in (b"", b"ai.onnx"):
        raise ValueError(f"its operator {SHORT.repr(operator)} is none of those of this project")
    for attribute in node.attributes:
        if attribute.graphs or attribute.sparses or attribute.HasField("graph") or attribute.HasField("sparse"):
            raise ValueError(f"its operator {operator} has a graph or sparse tensors within")
        for tensor in (attribute.tensor, *attribute.tensors):
            _check_tensor(tensor, room)


def _check_blocks(node: Any, weights: Mapping[bytes, Any]) -> None:
    """Weights, uint8 (N, blocks, bytes of a block), and scales, float32 (N, blocks) or flat, must be of the shapes that
    the attributes speak of: packing the weights, ONNX Runtime reads as far as these say."""
    own = {attribute.name: attribute.integer for attribute in node.attributes}
    rows, width, bits, block = (own.get(name, 0) for name in (b"N", b"K", b"bits", b"block_size"))
    if len(own) < len(node.attributes):
        raise ValueError(f"its {BLOCKS} has an attribute twice")
    if bits not in (4, 8) or block not in (16, 32, 64, 128, 256) or min(rows, width) < 1:
        raise ValueError(f"its {BLOCKS} has {bits} bits in blocks of {block}")
    blocks = -(-width // block)
    expected = ((UINT8, ([rows, blocks, block * bits // 8],)), (FLOAT32, ([rows, blocks], [rows * blocks])))
    constants = [weights.get(name) for name in node.inputs[1:]]
    if len(constants) != len(expected) or not all(
        tensor and tensor.type == kind and list(tensor.sides) in shapes
        for tensor, (kind, shapes) in zip(constants, expected, strict=True)
    ):
        raise ValueError(f"its {BLOCKS} has other weights than {rows} x {width} in blocks of {block}")


def _check_tensor(tensor: Any, room: _Room) -> None:
    sides = tensor.sides
    if any(side < 0 for side in sides):
        raise ValueError("a tensor's shape has a negative side")
    check_elements(sides)
    elements = math.prod(sides)
    if not tensor.external and tensor.location != EXTERNAL:
        if elements > 4 * room.graph_bytes:  # of the smallest elements, four share a byte
            raise ValueError(f"a tensor has {elements} elements in a file of {room.graph_bytes} bytes")
        return
    if tensor.type not in BYTES:
        raise ValueError(f"a tensor has elements of type {tensor.type}")
    first, size = _place(tensor.external, room.file)
    if first + size > room.file_bytes:
        raise ValueError(f"a tensor ends at byte {first + size} of a file of {room.file_bytes} bytes")
    if elements * BYTES[tensor.type] != size:
        raise ValueError(f"a tensor of shape {SHORT.repr(list(sides))} has {size} bytes")


def _place(external: Collection[Any], file: str) -> tuple[int, int]:
    """Where a tensor begins in the file beside the graph, and how many bytes it has."""
    entries = {entry.key: entry.value for entry in external}
    if len(entries) < len(external) or entries.keys() != {b"location", b"offset", b"length"}:
        raise ValueError("a tensor says otherwise than with one location, offset and length where it is")
    if entries[b"location"] != file.encode():
        raise ValueError(f"a tensor is in another file, {SHORT.repr(entries[b'location'])}")
    offset, length = entries[b"offset"], entries[b"length"]
    if not all(number.isdigit() and len(number) <= LONGEST_NUMBER for number in (offset, length)):
        raise ValueError(f"{SHORT.repr(offset)} and {SHORT.repr(length)} are no offset and length")
    return int(offset), int(length)


def _check_value(value: Any) -> None:
    kind = value.type
    if any(kind.HasField(other) for other in ("sequence", "map", "sparse", "optional")):
        raise ValueError("it passes something else than tensors")
    check_elements([max(side.value, 0) for side in kind.tensor.shape.sides])
