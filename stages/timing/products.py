"""Counts the products that a checkpoint computes, from its own graphs: what is pruned away or shrunk is not counted.

Zeros within a matrix are: the kernels of all three engines multiply and read them as they do any other number.
"""

import os
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch.utils._python_dispatch import TorchDispatchMode

from stages.captioner.checkpoint import read_manifest
from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes import onnxruntime, openvino
from stages.captioner.runtimes.openvino_api import Type
from stages.captioner.runtimes.openvino_core import start_core
from stages.captioner.runtimes.openvino_precision import NAMES, choose_group, choose_precision, usable_instruction_sets
from stages.captioner.runtimes.pytorch import load_model
from stages.timing.roofline import Part, Precision, Product

BYTES: dict[Precision, int] = {"int8": 1, "bfloat16": 2, "float16": 2, "float32": 4}


def count_products(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """What one picture's encoding, its first token and the token of this number, 2 or more, take at batch 1."""
    return RUNTIMES[read_manifest(checkpoint).runtime](checkpoint, length)


class _Recorder(TorchDispatchMode):
    """Records the products of all that PyTorch computes in its `with` block."""

    def __init__(self, *, states_are_read: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.states_are_read = states_are_read
        self.products: list[Product] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        match function.overloadpacket.__name__:
            case "linear_dynamic":  # of quantized, whose weights are packed
                inputs, outputs = args[0].shape[-1], result.shape[-1]
                self.products.append(Product(result.numel() * inputs, "int8", inputs * outputs))
            case "convolution":
                self._add(result.numel() * prod(args[1].shape[1:]), args[1])
            case "addmm" | "mm" | "bmm" as name:
                left, right = args[-2:]
                self._add(result.numel() * left.shape[-1], right, state=name == "bmm")
        return result

    def _add(self, macs: int, right: torch.Tensor, *, state: bool = False) -> None:
        read = right.numel() * right.element_size() if self.states_are_read or not state else 0
        self.products.append(Product(macs, "float32", read))


@torch.no_grad()
def _count_pytorch(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """By running the model as `generate` does, on a black picture: a quick look, as nothing is timed."""
    model = load_model(checkpoint)
    side, word = model.config.vision_config.image_size, torch.tensor([[model.config.text_config.bos_token_id]])
    with _Recorder(states_are_read=False) as encode:
        states = model.vision_model(pixel_values=torch.zeros(1, 3, side, side)).last_hidden_state
    past = None
    for step in range(1, length + 1):
        with _Recorder(states_are_read=True) as recorder:
            past = model.text_decoder(
                input_ids=word, encoder_hidden_states=states, past_key_values=past, use_cache=True
            ).past_key_values
        if step == 1:
            prefill = recorder
    return {"encode": encode.products, "prefill": prefill.products, "token": recorder.products}


def _count_onnxruntime(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    encoder, decoder = (checkpoint / name for name in (onnxruntime.ENCODER, onnxruntime.DECODER))
    return {
        "encode": list(_onnx_products(encoder, {"pictures": 1})),
        "prefill": list(_onnx_products(decoder, _one_word(after=0))),
        "token": list(_onnx_products(decoder, _one_word(after=length - 1))),
    }


def _one_word(after: int) -> dict[str, int]:
    """The decoder's open sides in a step of one word after so many."""
    return dict.fromkeys(("pictures", "beams", "rows", "words"), 1) | {"length": after}


def _onnx_products(path: Path, sides: dict[str, int]) -> Iterator[Product]:
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
        yield _product(node.op_type, left, right, shapes[node.output[0]], precision, size)


def _unpack_blocks(graph: onnx.GraphProto) -> set[str]:
    """Makes products whose weights lie in blocks plain ones, as onnx knows no shapes of ONNX Runtime's own operators;
    returns the nodes' names."""
    names: set[str] = set()
    for number, node in enumerate(graph.node):
        if node.op_type == "MatMulNBits":
            sides = {attribute.name: attribute.i for attribute in node.attribute}
            weights = helper.make_tensor_value_info(f"{node.name}_weights", TensorProto.FLOAT, [sides["K"], sides["N"]])
            graph.input.append(weights)
            product = helper.make_node("MatMul", [node.input[0], weights.name], node.output, node.name)
            graph.node[number].CopyFrom(product)
            names.add(node.name)
    return names


def _count_openvino(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    core = start_core()
    quantized = read_manifest(checkpoint).passes.get("quantize")
    sets = usable_instruction_sets(instruction_sets(), os.environ)
    precision = choose_precision(core, quantized=quantized is not None, sets=sets)
    floats: Precision = NAMES[precision]
    group = choose_group((quantized or {}).get("dynamic_quantization_group", "auto"), sets)
    encoder, decoder = (core.read_model(checkpoint / name) for name in (openvino.ENCODER, openvino.DECODER))
    decoder.reshape({port: [side if side.is_static else 1 for side in port.partial_shape] for port in decoder.inputs})
    own_group = core.get_property("CPU", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    return {
        "encode": list(_openvino_products(encoder, floats, own_group, None)),
        "prefill": list(_openvino_products(decoder, floats, group, 1)),
        "token": list(_openvino_products(decoder, floats, group, length)),
    }


def _openvino_products(model: Any, floats: Precision, group: int, length: int | None) -> Iterator[Product]:
    """Of a graph whose float numbers are computed as `floats`. Activations that meet int8 weights are int8 where they
    are quantized in the graph, or on the fly in groups. `length` is that of a decoder's own keys, which lie in its
    state."""
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("MatMul", "Convolution", "ScaledDotProductAttention"):
            continue
        left, right = (
            [side.get_length() if side.is_static else length or 1 for side in port.get_partial_shape()]
            for port in node.inputs()[:2]
        )
        result = [side.get_length() if side.is_static else 1 for side in node.output(0).get_partial_shape()]
        weight = _constant_behind(node.input_value(1))
        int8_weight = weight is not None and weight.get_element_type() in (Type.i8, Type.u8)
        quantized = node.input_value(0).get_node().get_type_name() == "FakeQuantize"
        precision: Precision = "int8" if int8_weight and (quantized or group) else floats
        size = (1 if int8_weight else BYTES[floats]) if weight is not None or length else 0
        yield _product(kind, left, right, result, precision, size)


def _constant_behind(value: Any) -> Any:
    """The constant that a value is made of, or None if it comes from an input or a state."""
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize", "Transpose"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _product(
    kind: str, left: Sequence[int], right: Sequence[int], result: Sequence[int], precision: Precision, size: int
) -> Product:
    """Of an operator whose operands have these shapes, and the right one's numbers so many bytes."""
    if "Attention" in kind:  # queries (…, length, width) with keys, and as many with values of the same shape
        return Product(2 * prod(left) * right[-2], precision, 2 * prod(right) * size)
    inner = prod(right[1:]) if kind.startswith("Conv") else left[-1]
    return Product(prod(result) * inner, precision, prod(right) * size)


RUNTIMES = {"pytorch": _count_pytorch, "onnxruntime": _count_onnxruntime, "openvino": _count_openvino}
