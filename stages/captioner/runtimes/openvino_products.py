"""Linear layers that a graph has as convolutions, turned into products of matrices where those are what runs in int8.

OpenVINO computes either in int8 on x86, where convolutions are faster with one picture at a time. On ARM it computes
int8 convolutions in float, with weights that take four times the memory, and products of matrices in int8.
"""

from typing import Any

import numpy as np

from .openvino_api import Model

SWAP = (0, 2, 1)


def make_convolutions_products(model: Model) -> int:
    """Rewrites, in place, each convolution that sees one row of a transposed matrix at a time, and what follows it up
    to where its result is transposed back. Returns how many there were."""
    convolutions = [node for node in model.get_ops() if _is_linear(node)]
    for convolution in convolutions:
        _rewrite(convolution)
    model.validate_nodes_and_infer_types()
    return len(convolutions)


def _is_linear(node: Any) -> bool:
    """Whether it is a convolution of (1, inputs, rows) with (outputs, inputs, 1)."""
    if node.get_type_name() != "Convolution" or not _swaps(node.input_value(0).get_node()):
        return False
    weights = list(node.input_value(1).get_shape())
    return len(weights) == 3 and weights[2] == 1


def _rewrite(convolution: Any) -> None:
    from openvino import opset13  # behind openvino_api, which keeps its conversion tools away

    swap = opset13.constant(np.asarray(SWAP))
    rows, weights = convolution.input_value(0).get_node().input_value(0), convolution.input_value(1)
    matrix = opset13.reshape(weights, opset13.constant(np.asarray(weights.get_shape()[:2])), False)
    old, new = convolution, opset13.matmul(rows, matrix, False, True)
    while (reader := _only_reader(old)) is not None:
        if reader.get_type_name() == "Add" and (bias := _constant(reader, 1)) is not None:
            new = opset13.add(new, opset13.constant(bias.transpose(SWAP)))
        elif reader.get_type_name() == "FakeQuantize" and len(bounds := _one_number_each(reader)) == 4:
            new = opset13.fake_quantize(new, *bounds, reader.get_attributes()["levels"])
        else:
            break
        old = reader
    if reader is not None and _swaps(reader):
        old = reader
    else:
        new = opset13.transpose(new, swap)
    for target in list(old.output(0).get_target_inputs()):
        target.replace_source_output(new.output(0))


def _only_reader(node: Any) -> Any:
    """What takes in a node's result, or None if several do."""
    readers = [target.get_node() for target in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 else None


def _constant(node: Any, port: int) -> Any:
    """The constant of three dimensions that a node takes in, or None."""
    source = node.input_value(port).get_node()
    return source.data if source.get_type_name() == "Constant" and len(source.get_output_shape(0)) == 3 else None


def _one_number_each(quantizer: Any) -> list[Any]:
    """Those of a quantizer's four bounds that are the same for all rows and columns."""
    return [bound for bound in map(quantizer.input_value, range(1, 5)) if np.prod(bound.get_shape()) == 1]


def _swaps(node: Any) -> bool:
    """Whether it transposes the matrices of (1, rows, columns)."""
    order = node.input_value(1).get_node() if node.get_type_name() == "Transpose" else None
    return order is not None and order.get_type_name() == "Constant" and tuple(order.data) == SWAP
