"""Rewrites of OpenVINO graphs that neither its converter nor NNCF make."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino
from openvino import opset13 as operations

from stages.captioner.runtimes.compiled_graphs import weights_file
from stages.captioner.runtimes.graph_captioner import decoder_outputs, past_inputs

# A name that OpenVINO gave a node itself.
NUMBERED = re.compile(r"[A-Z][A-Za-z]*_\d+(/|$)")
ALIGNMENT = 64  # bytes


def make_stateful(decoder: openvino.Model, layers: int) -> None:
    """Lets the engine keep the past where it computes it; it starts empty, with as many rows as there are parents."""
    old_parents = decoder.input("parents").get_node()
    parents = operations.parameter([-1], np.int32, name="parents")
    parents.output(0).get_tensor().set_names({"parents"})
    pasts = [decoder.input(name) for name in past_inputs(layers)]
    for past in pasts:
        (reordering,) = past.get_target_inputs()
        reordering.get_node().input(1).replace_source_output(parents.output(0))
    decoder.add_parameters([parents])
    decoder.remove_parameter(old_parents)
    openvino._offline_transformations.apply_make_stateful_transformation(
        decoder, dict(zip(past_inputs(layers), decoder_outputs(layers)[1:], strict=True))
    )
    rows = operations.shape_of(parents)
    for operation in decoder.get_ops():
        if operation.get_type_name() == "ReadValue":
            _, heads, _, width = operation.output(0).partial_shape
            sides = operations.constant(np.asarray([heads.get_length(), 0, width.get_length()], dtype=np.int64))
            nothing = operations.broadcast(operations.constant(np.float32(0)), operations.concat([rows, sides], 0))
            operation.set_arguments([nothing.output(0)])
    decoder.validate_nodes_and_infer_types()


def fold_zero_points(encoder: openvino.Model) -> None:
    """Shifts the ranges of what convolutions take in to start at 0, and their biases by what that adds.

    With zero points, OpenVINO would multiply and add up all weights whenever it opens the graph.
    """
    for quantizer in encoder.get_ops():
        readers = _readers(quantizer) if quantizer.get_type_name() == "FakeQuantize" else []
        if readers and all(reader.get_type_name() == "Convolution" for reader in readers):
            _fold_zero_point(quantizer, readers)


def _readers(node: openvino.Node) -> list[openvino.Node]:
    """The operations that compute with what a node gives, however transposed or reshaped."""
    readers = [target.get_node() for target in node.output(0).get_target_inputs()]
    moved = [_readers(reader) if reader.get_type_name() in ("Transpose", "Reshape") else [reader] for reader in readers]
    return [reader for several in moved for reader in several]


def _fold_zero_point(quantizer: openvino.Node, convolutions: list[openvino.Node]) -> None:
    low, high = (_constant(quantizer, port) for port in (1, 2))
    # Names of our own, as OpenVINO would number them in an order that changes from run to run.
    name = quantizer.get_friendly_name()
    for port, bound, role in ((3, np.zeros_like(low), "shifted_low"), (4, high - low, "shifted_high")):
        quantizer.input(port).replace_source_output(operations.constant(bound, name=f"{name}/{role}").output(0))
    for convolution in convolutions:
        scaled = convolution.input_value(1).get_node()
        integers, scales = _constant(scaled.input_value(0).get_node(), 0), _constant(scaled, 1)
        sums = integers.sum(axis=tuple(range(1, integers.ndim)), dtype=np.int64) * scales.ravel()
        _add_to_channels(convolution, (low * sums).astype(np.float32))


def _add_to_channels(convolution: openvino.Node, offsets: np.ndarray) -> None:
    """Adds to the bias of a convolution, or gives it one: the converter leaves out a bias of zeros."""
    offsets = offsets.reshape([1, -1, *[1] * (convolution.output(0).partial_shape.rank.get_length() - 2)])
    name = f"{convolution.get_friendly_name()}/shifted_bias"
    for target in convolution.output(0).get_target_inputs():
        reader = target.get_node()
        if reader.get_type_name() == "Add" and reader.input_value(1).get_node().get_type_name() == "Constant":
            bias = operations.constant(_constant(reader, 1) + offsets, name=name)
            reader.input(1).replace_source_output(bias.output(0))
        else:
            shifted = operations.add(convolution, operations.constant(offsets, name=name), name=f"{name}/add")
            target.replace_source_output(shifted.output(0))


def _constant(node: openvino.Node, port: int) -> np.ndarray:
    """The constant that a node takes in."""
    data: np.ndarray = node.input_value(port).get_node().data
    return data


def save(graph: openvino.Model, path: Path) -> None:
    """Writes a graph as .xml and .bin, its constants from the smallest to the largest.

    What OpenVINO numbered by how much the process had made before is numbered by its place instead.

    OpenVINO maps the file and reads small constants at every run. Each read maps the pages around it too: between large
    weights, which are repacked and not read again, that would be much of the file.

    Raises OSError with the system's error number if the disk is full.
    """
    try:
        openvino.save_model(graph, path, compress_to_fp16=False)
    except RuntimeError:  # which doesn't say what the system said: Python's own attempt to write as much does
        size = sum(node.data.nbytes for node in graph.get_ops() if node.get_type_name() == "Constant")
        weights_file(path).write_bytes(bytes(size))
        raise
    document, weights = ElementTree.parse(path), weights_file(path)
    constants = [layer.find("data") for layer in document.iter("layer") if layer.get("type") == "Const"]
    attributes = [constant.attrib for constant in constants if constant is not None]
    old, new = weights.read_bytes(), bytearray()
    moved: dict[tuple[int, int], int] = {}
    for size, offset in sorted({(int(each["size"]), int(each["offset"])) for each in attributes}):
        new += bytes(-len(new) % ALIGNMENT)
        moved[size, offset] = len(new)
        new += old[offset : offset + size]
    for each in attributes:
        each["offset"] = str(moved[int(each["size"]), int(each["offset"])])
    weights.write_bytes(new)
    document.getroot().set("name", path.stem)
    for layer in document.iter("layer"):
        if NUMBERED.match(layer.attrib["name"]):
            layer.set("name", f"{layer.attrib['type']}_{layer.attrib['id']}")
    document.write(path)
