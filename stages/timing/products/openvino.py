"""The products of OpenVINO's graphs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.captioner.checkpoint import read_manifest
from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes import openvino
from stages.captioner.runtimes.openvino_api import Type
from stages.captioner.runtimes.openvino_core import start_core
from stages.captioner.runtimes.openvino_precision import NAMES, choose_group, choose_precision, usable_instruction_sets
from stages.timing.products.counter import product
from stages.timing.roofline import Part, Precision, Product

BYTES: dict[Precision, int] = {"int8": 1, "bfloat16": 2, "float16": 2, "float32": 4}


def count(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """Of a checkpoint, see `count_products`."""
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
        "encode": list(_products(encoder, floats, own_group, None)),
        "prefill": list(_products(decoder, floats, group, 1)),
        "token": list(_products(decoder, floats, group, length)),
    }


def _products(model: Any, floats: Precision, group: int, length: int | None) -> Iterator[Product]:
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
        yield product(kind, left, right, result, precision, size)


def _constant_behind(value: Any) -> Any:
    """The constant that a value is made of, or None if it comes from an input or a state."""
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize", "Transpose"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None
