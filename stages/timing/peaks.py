"""What this machine can do at best, by the kernels that captioning uses: the engines' own matrix products, and reading.

A precision's peak is that of the fastest engine. Where no engine has a kernel for a precision on this CPU, as bfloat16
without AVX-512 or AMX, the precision is absent: emulating it would say nothing of what the machine can do.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from stages.captioner.instruction_sets import is_arm
from stages.captioner.runtimes import pytorch_int8
from stages.captioner.runtimes.openvino_api import Tensor, Type
from stages.captioner.runtimes.openvino_core import start_core
from stages.timing.roofline import READ_MB, Peaks, Precision

# The product that BLIP's encoder spends most of its time in, but for rows that fill every kernel's blocks.
ROWS, INPUTS, OUTPUTS = 512, 768, 3072
SECONDS = 0.1  # for each product and each reading; a dozen of them and their preparation stay below two seconds
Product = tuple[Precision, Callable[[], Any]]


def measure_peaks(threads: int) -> Peaks:
    """Measures this machine with so many threads, in less than two seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        gops: dict[Precision, float] = {}
        for engine in ENGINES:
            for precision, product in engine(threads):
                rate = 2 * ROWS * INPUTS * OUTPUTS / _best_seconds(product) / 1e9
                gops[precision] = round(max(rate, gops.get(precision, 0)), 1)
        read = {str(megabytes): round((megabytes << 20) / _read_seconds(megabytes) / 1e9, 1) for megabytes in READ_MB}
        return Peaks(gops, read)
    finally:
        torch.set_num_threads(before)


def _torch_products(threads: int) -> Iterator[Product]:
    rows = torch.randn(ROWS, INPUTS)
    towers = {
        tower: torch.nn.Sequential(torch.nn.Linear(INPUTS, OUTPUTS)) for tower in ("vision_model", "text_decoder")
    }
    model = torch.nn.ModuleDict(towers)
    precisions: tuple[Precision, ...] = ("float32", "int8")
    for precision in precisions:
        if precision == "int8":
            pytorch_int8.apply(model)
        for tower in towers:  # whose int8 layers are packed for an engine each
            yield precision, partial(_run_layer, model.get_submodule(f"{tower}.0"), rows)


@torch.inference_mode()
def _run_layer(layer: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer(rows)
    return result


def _onnxruntime_products(threads: int) -> Iterator[Product]:
    kinds: tuple[tuple[Precision, str, Any, Any, int], ...] = (
        ("float32", "MatMul", np.float32, np.float32, TensorProto.FLOAT),
        ("int8", "MatMulInteger", np.uint8, np.int8, TensorProto.INT32),
    )
    for precision, operator, left, right, result in kinds:
        rows, weights = np.ones((ROWS, INPUTS), left), np.ones((INPUTS, OUTPUTS), right)
        graph = helper.make_graph(
            [helper.make_node(operator, ["rows", "weights"], ["result"])],
            "product",
            [helper.make_tensor_value_info("rows", helper.np_dtype_to_tensor_dtype(rows.dtype), rows.shape)],
            [helper.make_tensor_value_info("result", result, [ROWS, OUTPUTS])],
            [onnx.numpy_helper.from_array(weights, "weights")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield precision, partial(session.run, None, {"rows": rows})


def _openvino_products(threads: int) -> Iterator[Product]:
    core = start_core()
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    half: Precision | None = "float16" if is_arm() and "FP16" in offered else "bfloat16" if "BF16" in offered else None
    hints = {"bfloat16": Type.bf16, "float16": Type.f16, None: Type.f32}
    precisions: tuple[Precision, ...] = ("float32", "int8", half) if half else ("float32", "int8")
    for precision in precisions:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": Type.f32 if precision == "float32" else hints[half],
        }
        request = core.compile_model(_convolution(precision), "CPU", settings).create_infer_request()
        request.set_input_tensor(Tensor(np.ones((1, INPUTS, ROWS), np.float32)))
        yield precision, request.infer


def _convolution(precision: Precision) -> Any:
    """A product as openvino_int8 computes it: a convolution that sees one row at a time."""
    from openvino import Model, opset13  # behind openvino_api, which keeps its conversion tools away

    rows = opset13.parameter([1, INPUTS, ROWS], np.float32)
    shape = (OUTPUTS, INPUTS, 1)
    if precision == "int8":
        low, high = np.float32(0), np.float32(255)
        states = opset13.fake_quantize(rows, low, high, low, high, 256)
        scale = opset13.constant(np.full((OUTPUTS, 1, 1), 0.01, np.float32))
        weights = opset13.multiply(opset13.convert(opset13.constant(np.ones(shape, np.int8)), "f32"), scale)
    else:
        states, weights = rows, opset13.constant(np.ones(shape, np.float32))
    return Model([opset13.convolution(states, weights, [1], [0], [0], [1])], [rows])


ENGINES = (_torch_products, _onnxruntime_products, _openvino_products)


def _read_seconds(megabytes: int) -> float:
    numbers = torch.ones(megabytes << 18)
    return _best_seconds(numbers.sum)


def _best_seconds(run: Callable[[], Any]) -> float:
    """The shortest of several runs after a first one."""
    run()
    shortest, start = float("inf"), time.perf_counter()
    while (begin := time.perf_counter()) - start < SECONDS:
        run()
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest
