"""Products with weights that are partly zero, by the kernels that CPUs have for them, and by dense ones.

All compute the same, (rows, inputs) with weights (outputs, inputs). Those for zeros take the rows as columns and give
them so, (outputs, rows), which leaves out the transposing that a model would need besides: in their favour.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix

from stages.alternatives import sparse_tvm
from stages.alternatives.sparse_page import Part, Zeros
from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes import pytorch_int8
from stages.captioner.runtimes.openvino_api import Tensor, Type
from stages.captioner.runtimes.openvino_core import start_core
from stages.captioner.runtimes.openvino_precision import choose_group, choose_precision, usable_instruction_sets
from stages.passes.zeros import SIDE, two_of_four

Form = Literal["dense", "csr", "bsr"]
Run = Callable[[], Sequence[Any]]
SPARSE_RATE = 0.2  # OpenVINO keeps weights compressed from so large a share of zeros on
LARGEST_INT8 = 63  # of 7 bits, whose products overflow nowhere


class Layer(NamedTuple):
    """A linear layer of BLIP-base: how many rows it takes, how many such the model has and how many are timed."""

    name: str
    part: Part
    inputs: int
    outputs: int
    rows: int
    copies: int
    timed: int


# Of the encoder one block, as its products hardly wait for weights. Of the decoder all, one after the other as in the
# model: else weights would lie in the cache, from which it never reads them.
LAYERS = (
    Layer("encoder, query, key and value", "picture", 768, 2304, 577, 12, 1),
    Layer("encoder, projection", "picture", 768, 768, 577, 12, 1),
    Layer("encoder, MLP in", "picture", 768, 3072, 577, 12, 1),
    Layer("encoder, MLP out", "picture", 3072, 768, 577, 12, 1),
    Layer("decoder, attention", "word", 768, 768, 1, 72, 72),
    Layer("decoder, MLP in", "word", 768, 3072, 1, 12, 12),
    Layer("decoder, MLP out", "word", 3072, 768, 1, 12, 12),
    Layer("decoder, output layer", "word", 768, 30524, 1, 1, 1),
)


class Kernel(NamedTuple):
    """How it is called, where its zeros lie, in what form it takes weights, and what gets it ready: weights, float32
    (outputs, inputs) each, rows, float32 (rows, inputs), and a number of threads."""

    label: str
    zeros: Zeros
    form: Form
    prepare: Callable[[Sequence[torch.Tensor], torch.Tensor, int], Run]


def with_zeros(weight: torch.Tensor, zeros: Zeros, share: float, dice: torch.Generator) -> torch.Tensor:
    """A copy of a weight whose numbers are spread evenly round 0, with so large a share of zeros."""
    if zeros == "blocks":
        rows, columns = weight.shape
        kept = torch.rand(-(-rows // SIDE), -(-columns // SIDE), generator=dice) >= share
        kept = kept.repeat_interleave(SIDE, dim=0).repeat_interleave(SIDE, dim=1)[:rows, :columns]
        return weight * kept
    if zeros == "2:4":
        return weight.masked_fill(two_of_four(weight.abs()), 0)
    return weight * (weight.abs() >= share * weight.abs().max())


def to_form(weight: torch.Tensor, form: Form) -> torch.Tensor:
    """A weight as kernels take it: indices have 32 bits, which is how MKL, behind PyTorch, takes them; blocks are of
    SIDE by SIDE, with outputs of 0 where the last ones are incomplete."""
    if form == "dense":
        return weight
    if form == "csr":
        csr = weight.to_sparse_csr()
        return torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(), csr.values(), csr.shape)
    bsr = torch.nn.functional.pad(weight, (0, 0, 0, -len(weight) % SIDE)).to_sparse_bsr((SIDE, SIDE))
    return torch.sparse_bsr_tensor(bsr.crow_indices().int(), bsr.col_indices().int(), bsr.values(), bsr.shape)


# PyTorch


def _torch_float32(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    return partial(_products, torch.nn.functional.linear, [(rows, weight) for weight in weights])


def _torch_int8(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    """As `quantized` has it: an engine for a picture's rows, another for a word's."""
    tower = "vision_model" if len(rows) > 1 else "text_decoder"
    model = torch.nn.ModuleDict({tower: torch.nn.Sequential(*map(_linear, weights))})
    pytorch_int8.apply(model)
    return partial(
        _products, torch.nn.Module.__call__, [(layer, rows) for layer in model.get_submodule(tower).children()]
    )


def _linear(weight: torch.Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    return layer


def _torch_csr(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    return partial(_products, torch.matmul, [(weight, _columns(rows)) for weight in weights])


def _torch_bsr(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    return partial(_products, torch.matmul, [(weight, rows.T.contiguous()) for weight in weights])


def _columns(rows: torch.Tensor) -> torch.Tensor:
    """Rows as columns; a single one as a vector, for which kernels have an own product."""
    return rows.T.contiguous() if len(rows) > 1 else rows[0]


@torch.inference_mode()
def _products(multiply: Callable[..., Any], operands: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [multiply(*own) for own in operands]


def _scipy_csr(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    """It has one thread, whatever it is given."""
    parts = [(own.values().numpy(), own.col_indices().numpy(), own.crow_indices().numpy()) for own in weights]
    columns = _columns(rows).numpy()
    return partial(
        _products, csr_matrix.__matmul__, [(csr_matrix(own, shape=weights[0].shape), columns) for own in parts]
    )


# OpenVINO


def _openvino_int8(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    """As `openvino_int8` has it: a picture's rows in int8, a word's in float."""
    return _openvino(weights, rows, threads, int8_rows=len(rows) > 1, sparse_rate=1.0)


def _openvino_sparse(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Run:
    """With weights that stay compressed in memory, which OpenVINO has for int8 by int8 on AMX."""
    return _openvino(weights, rows, threads, int8_rows=True, sparse_rate=SPARSE_RATE)


def _openvino(
    weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int, *, int8_rows: bool, sparse_rate: float
) -> Run:
    core = start_core()
    sets = usable_instruction_sets(instruction_sets(), os.environ)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": choose_precision(core, quantized=True, sets=sets),
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0 if int8_rows else choose_group("auto", sets),
        "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": sparse_rate,
    }
    model = _openvino_model([weight.numpy() for weight in weights], rows.numpy(), int8_rows=int8_rows)
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    array = np.ascontiguousarray(rows.numpy())
    for number in range(len(model.inputs)):
        request.set_input_tensor(number, Tensor(array, shared_memory=True))

    def run() -> list[Any]:
        request.infer()
        return [request.get_output_tensor(number).data for number in range(len(model.outputs))]

    return run


def _openvino_model(weights: Sequence[np.ndarray], rows: np.ndarray, *, int8_rows: bool) -> Any:
    """A graph of products that have nothing to do with each other, with int8 weights of a scale for each output."""
    from openvino import Model, opset13  # behind openvino_api, which keeps its conversion tools away

    inputs, outputs = [], []
    most = np.float32(np.abs(rows).max())
    for weight in weights:
        taken = opset13.parameter(list(rows.shape), np.float32)
        states = opset13.fake_quantize(taken, -most, most, -most, most, 255) if int8_rows else taken
        scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-9).astype(np.float32) / LARGEST_INT8
        whole = opset13.convert(opset13.constant(np.round(weight / scale).astype(np.int8)), "f32")
        inputs.append(taken)
        outputs.append(opset13.matmul(states, opset13.multiply(whole, opset13.constant(scale)), False, True))
    return Model([opset13.result(opset13.convert(output, Type.f32)) for output in outputs], inputs)


FLOAT, DENSE_INT8 = "torch_float32", ("torch_int8", "openvino_int8")
KERNELS = {
    FLOAT: Kernel("PyTorch, dense float32", "none", "dense", _torch_float32),
    "torch_int8": Kernel("PyTorch, dense int8", "none", "dense", _torch_int8),
    "openvino_int8": Kernel("OpenVINO, dense int8", "none", "dense", _openvino_int8),
    "torch_csr": Kernel("PyTorch CSR", "anywhere", "csr", _torch_csr),
    "scipy_csr": Kernel("SciPy CSR, one thread", "anywhere", "csr", _scipy_csr),
    "tvm_csr": Kernel("TVM, CSR", "anywhere", "csr", sparse_tvm.prepare),
    "openvino_sparse_int8": Kernel("OpenVINO, int8 weights compressed", "anywhere", "dense", _openvino_sparse),
    "torch_csr_2_4": Kernel("PyTorch CSR, 2:4", "2:4", "csr", _torch_csr),
    "tvm_csr_2_4": Kernel("TVM, CSR, 2:4", "2:4", "csr", sparse_tvm.prepare),
    "torch_bsr": Kernel("PyTorch BSR", "blocks", "bsr", _torch_bsr),
    "tvm_bsr": Kernel("TVM, BSR", "blocks", "bsr", sparse_tvm.prepare),
}


def missing_kernels() -> dict[str, str]:
    """Those that this machine can't run, and why."""
    missing = {"torch_semi_structured": "PyTorch's own kernel for 2:4 is for CUDA"}
    if "amx_int8" not in usable_instruction_sets(instruction_sets(), os.environ):
        missing["openvino_sparse_int8"] = "OpenVINO's products with compressed weights need AMX, which this CPU lacks"
    return missing
