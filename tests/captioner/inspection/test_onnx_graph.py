import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from stages.captioner.command_line import InputError
from stages.captioner.inspection.bounds import LARGEST_GRAPH
from stages.captioner.inspection.onnx_graph import FORMAT, inspect_onnx_graph
from tests.conftest import Build

NAMES = {
    "Model": onnx.ModelProto,
    "Graph": onnx.GraphProto,
    "Node": onnx.NodeProto,
    "Attribute": onnx.AttributeProto,
    "Tensor": onnx.TensorProto,
    "Entry": onnx.StringStringEntryProto,
    "Value": onnx.ValueInfoProto,
    "Type": onnx.TypeProto,
    "TensorType": onnx.TypeProto.Tensor,
    "Shape": onnx.TensorShapeProto,
    "Side": onnx.TensorShapeProto.Dimension,
}
EMPTY = helper.make_graph([], "within", [], [])


@pytest.fixture
def graph(build: Build, tmp_path: Path) -> Path:
    for name in ("decoder.onnx", "decoder.onnx.data"):
        shutil.copyfile(build("onnx_int8") / name, tmp_path / name)
    return tmp_path / "decoder.onnx"


def external(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL)


def internal(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL)


def place(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (entry,) = [entry for entry in external(model).external_data if entry.key == key]
        entry.value = value

    return change


def constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = onnx.TensorProto(data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["x"], value=tensor))


def add_node(*arguments: Any, **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.append(helper.make_node(*arguments, **attributes))


def blocks(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "MatMulNBits")


def block_attribute(name: str, value: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (attribute,) = [attribute for attribute in blocks(model).attribute if attribute.name == name]
        attribute.i = value

    return change


DANGERS: list[tuple[Callable[[onnx.ModelProto], Any], str]] = [
    (place("location", "../decoder.onnx.data"), "in another file"),
    (place("location", "/etc/passwd"), "in another file"),
    (place("location", "encoder.onnx.data"), "in another file"),
    (place("location", ""), "in another file"),
    (place("offset", "999999999999"), "ends at byte"),
    (place("offset", "-1"), "no offset and length"),
    (place("offset", "9" * 30), "no offset and length"),
    (place("length", "1"), "has 1 bytes"),
    (lambda model: external(model).external_data.pop(), "otherwise than with one"),
    (lambda model: external(model).external_data.add(key="location", value="x"), "otherwise than with one"),
    (lambda model: external(model).ClearField("external_data"), "otherwise than with one"),
    (lambda model: external(model).dims.append(2), "bytes"),
    (lambda model: external(model).dims.append(2**62), "more than 2147483648 elements"),
    (lambda model: external(model).dims.append(-1), "negative side"),
    (lambda model: setattr(external(model), "data_type", onnx.TensorProto.STRING), "elements of type 8"),
    (lambda model: internal(model).dims.extend([2**30]), "elements"),
    (constant_elsewhere, "otherwise than with one"),
    (add_node("Loop", ["a"], ["b"], body=EMPTY), "operator 'Loop'"),
    (add_node("Identity", ["a"], ["b"], body=EMPTY), "a graph or sparse tensors within"),
    (add_node("EPContext", ["a"], ["b"], domain="com.microsoft"), "operator 'EPContext'"),
    (add_node("MatMul", ["a"], ["b"], domain="mine"), "operator 'MatMul'"),
    (add_node("MatMulNBits", ["a"], ["b"]), "operator 'MatMulNBits'"),
    (block_attribute("N", 2**20), "other weights than 1048576 x"),
    (block_attribute("N", -1), "bits in blocks"),
    (block_attribute("K", 2**20), "other weights"),
    (block_attribute("bits", 4), "other weights"),
    (block_attribute("bits", 3), "3 bits"),
    (block_attribute("block_size", 32), "other weights"),
    (block_attribute("block_size", 0), "blocks of 0"),
    (lambda model: blocks(model).attribute.add(name="N", i=1, type=onnx.AttributeProto.INT), "attribute twice"),
    (lambda model: blocks(model).input.pop(), "other weights"),
    (lambda model: blocks(model).input.append("zero_points"), "other weights"),
    (lambda model: blocks(model).input.__setitem__(1, "computed"), "other weights"),
    (lambda model: model.graph.initializer.append(model.graph.initializer[0]), "one name"),
    (lambda model: model.functions.add(name="mine"), "functions"),
    (lambda model: model.graph.sparse_initializer.add(), "sparse"),
    (lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2**40), "more than"),
    (lambda model: model.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(), "else than tensors"),
    (lambda model: model.graph.node.extend([model.graph.node[0]] * 10_001), "more than 10000 operators"),
]


@pytest.mark.parametrize(("change", "reason"), DANGERS)
def test_a_graph_that_could_harm_is_refused(
    graph: Path, change: Callable[[onnx.ModelProto], None], reason: str
) -> None:
    inspect_onnx_graph(graph)
    model = onnx.load(graph, load_external_data=False)
    change(model)
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=rf"decoder\.onnx is not a graph that may be opened .*{reason}"):
        inspect_onnx_graph(graph)


def test_two_halves_that_protobuf_puts_together_are_seen_as_one(graph: Path) -> None:
    """A field that occurs twice is one with what either has."""
    half = onnx.ModelProto()
    half.graph.node.append(helper.make_node("Loop", ["a"], ["b"], body=EMPTY))
    graph.write_bytes(graph.read_bytes() + half.SerializeToString())
    with pytest.raises(InputError, match="operator 'Loop'"):
        inspect_onnx_graph(graph)


def test_weights_that_were_cut_off_or_are_missing_are_found(graph: Path) -> None:
    weights = graph.with_name("decoder.onnx.data")
    weights.write_bytes(weights.read_bytes()[: external_end(graph) - 1])
    with pytest.raises(InputError, match="a tensor ends at byte"):
        inspect_onnx_graph(graph)
    weights.unlink()
    with pytest.raises(InputError, match=r"decoder\.onnx\.data can't be read"):
        inspect_onnx_graph(graph)


def external_end(graph: Path) -> int:
    """Where the last tensor in the file beside the graph ends."""
    tensors = onnx.load(graph, load_external_data=False).graph.initializer
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors if tensor.external_data]
    return max(int(place["offset"]) + int(place["length"]) for place in places)


def test_a_graph_of_gigabytes_is_not_read(graph: Path) -> None:
    with graph.open("r+b") as stream:
        stream.truncate(1024**4)
    with pytest.raises(InputError, match=f"more than the {LARGEST_GRAPH:,} bytes"):
        inspect_onnx_graph(graph)


def test_the_format_s_numbers_are_onnx_s() -> None:
    for message, fields in FORMAT.items():
        known = NAMES[message].DESCRIPTOR.fields_by_number if message in NAMES else {}
        for number, kind in fields.values():
            assert known[number].is_repeated == kind.startswith("*"), (message, number)
            is_message = kind.removeprefix("*") in FORMAT
            assert (known[number].type == known[number].TYPE_MESSAGE) == is_message, (message, number)
