"""The products of ONNX Runtime's graphs."""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from stages.captioner.runtimes import onnxruntime
from stages.timing.products.counter import product
from stages.timing.roofline import Part, Precision, Product


def count(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """Of a checkpoint, see `count_products`."""
    encoder, decoder = (checkpoint / name for name in (onnxruntime.ENCODER, onnxruntime.DECODER))
    return {
        "encode": list(_products(encoder, {"pictures": 1})),
        "prefill": list(_products(decoder, _one_word(after=0))),
        "token": list(_products(decoder, _one_word(after=length - 1))),
    }


def _one_word(after: int) -> dict[str, int]:
    """The decoder's open sides in a step of one word after so many."""
    return dict.fromkeys(("pictures", "beams", "rows", "words"), 1) | {"length": after}


def _products(path: Path, sides: dict[str, int]) -> Iterator[Product]:
    """Of a graph whose open sides are so long."""
    model = onnx.load(path, load_external_data=False)
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for side in value.type.tensor_type.shape.dim:
            terms = [term.split("*") for term in side.dim_param.split(" + ")]  # such as «beams*words»
            if side.dim_param and all(name in sides for names in terms for name in names):
                side.dim_value = sum(prod(sides[name] for name in names) for names in terms)
    in_blocks = _unpack_blocks(model.graph)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.value_info, *graph.output]
    }
    weights = {tensor.name: tensor for tensor in graph.initializer}
    shapes |= {name: list(tensor.dims) for name, tensor in weights.items()}
    for node in graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger", "Gemm", "Conv", "Attention"):
            continue
        left, right = (shapes[name] for name in node.input[:2])
        int8 = node.op_type == "MatMulInteger" or node.name in in_blocks
        precision: Precision = "int8" if int8 else "float32"
        weight = weights.get(node.input[1])
        kind = TensorProto.INT8 if int8 else weight.data_type if weight else TensorProto.FLOAT
        size = helper.tensor_dtype_to_np_dtype(kind).itemsize if weight or path.name == onnxruntime.DECODER else 0
        yield product(node.op_type, left, right, shapes[node.output[0]], precision, size)


def _unpack_blocks(graph: onnx.GraphProto) -> set[str]:
    """Makes products whose weights lie in blocks plain ones, as onnx knows no shapes of ONNX Runtime's own operators;
    returns the nodes' names."""
    names: set[str] = set()
    for number, node in enumerate(graph.node):
        if node.op_type == "MatMulNBits":
            sides = {attribute.name: attribute.i for attribute in node.attribute}
            weights = helper.make_tensor_value_info(f"{node.name}_weights", TensorProto.FLOAT, [sides["K"], sides["N"]])
            graph.input.append(weights)
            plain = helper.make_node("MatMul", [node.input[0], weights.name], node.output, node.name)
            graph.node[number].CopyFrom(plain)
            names.add(node.name)
    return names
