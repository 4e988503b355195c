"""Products with weights that are partly zero, compiled by TVM for this CPU.

TVM itself has none any more: its `sparse_dense` and what made graphs sparse went with Relay. But loops over a sparse
matrix can be written in its language, and it compiles them for the registers at hand. These are ours, and no tuner was
tried on them: a tile of the result stays in registers while the numbers of a row, or of a row of blocks, are gone
through.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import tvm
from tvm.script import tirx

from stages.passes.zeros import SIDE

LANES = 16  # numbers that are multiplied at once: one register of AVX-512, two of AVX2
TILES = {1: 128, SIDE: LANES}  # by the side of blocks, columns of the result that stay in registers


def prepare(weights: Sequence[torch.Tensor], rows: torch.Tensor, threads: int) -> Callable[[], Sequence[Any]]:
    """A run of products with rows, float32 (rows, inputs), for CSR weights, or BSR ones in blocks of SIDE by SIDE.

    Each gives (outputs, rows), with columns of 0 behind the last where tiles are wider.
    """
    os.environ["TVM_NUM_THREADS"] = str(threads)  # which TVM reads once, at its first product
    calls = [_call(weight, rows) for weight in weights]

    def run() -> Sequence[Any]:
        for product, operands in calls:
            product(*operands)
        return [operands[-1].numpy() for _, operands in calls]

    return run


def _call(weight: torch.Tensor, rows: torch.Tensor) -> tuple[Any, list[Any]]:
    side = SIDE if weight.layout == torch.sparse_bsr else 1
    wide = 1 if len(rows) == 1 else TILES[side]
    width = -(-len(rows) // wide) * wide
    columns = torch.nn.functional.pad(rows.T, (0, width - len(rows)))
    values = weight.values().reshape(-1, side, side)
    if side > 1:  # a block's outputs side by side; copied, as TVM minds how even a tensor of nothing lies
        values = values.transpose(1, 2).clone(memory_format=torch.contiguous_format)
    arrays = (weight.crow_indices(), weight.col_indices(), values, columns, torch.zeros(len(weight), width))
    product = _compile(len(weight), weight.shape[1], width, side)
    return product, [tvm.runtime.from_dlpack(array.contiguous()) for array in arrays]


@cache
def _compile(outputs: int, inputs: int, width: int, side: int) -> Any:
    # By name alone, LLVM would take for granted what a virtual machine hides of its CPU.
    features = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    own = [f"{'+' if present else '-'}{name}" for name, present in features.items()]
    target = {"kind": "llvm", "mcpu": tvm.get_global_func("target.llvm_get_system_cpu")(), "mattr": own}
    loops = _vector(outputs, inputs, side) if width == 1 else _columns(outputs, inputs, width, side)
    return tvm.compile(tvm.IRModule({"main": loops}), target=tvm.target.Target(target))["main"]


# In TVM's language, which looks like Python and is not run as such. `starts` and `places` are where the blocks of a row
# of blocks start and which columns they are of; a number that lies anywhere is a block of one.


def _columns(outputs: int, inputs: int, width: int, side: int) -> Any:  # noqa: C901 (loops are all that the language has)
    parts = TILES[side] // LANES

    @tirx.prim_func
    def product(a: tirx.handle, b: tirx.handle, c: tirx.handle, d: tirx.handle, e: tirx.handle):  # noqa: C901
        tirx.func_attr({"tirx.noalias": True})  # without which the tile would not stay in registers
        count = tirx.int32()
        starts = tirx.match_buffer(a, (outputs // side + 1,), "int32")
        places = tirx.match_buffer(b, (count,), "int32")
        values = tirx.match_buffer(c, (count, side, side), "float32")
        columns = tirx.match_buffer(d, (inputs, width), "float32")
        result = tirx.match_buffer(e, (outputs, width), "float32")
        for row in tirx.parallel(outputs // side):
            for tile in tirx.serial(width // (parts * LANES)):
                held = tirx.alloc_buffer((side, parts, LANES), "float32", scope="local")
                for i in tirx.unroll(side):
                    for part in tirx.unroll(parts):
                        for lane in tirx.vectorized(LANES):
                            held[i, part, lane] = tirx.float32(0)
                for j in tirx.serial(starts[row + 1] - starts[row]):
                    for k in tirx.serial(side):
                        for i in tirx.unroll(side):
                            for part in tirx.unroll(parts):
                                for lane in tirx.vectorized(LANES):
                                    held[i, part, lane] += (
                                        values[starts[row] + j, k, i]
                                        * columns[
                                            places[starts[row] + j] * side + k, (tile * parts + part) * LANES + lane
                                        ]
                                    )
                for i in tirx.unroll(side):
                    for part in tirx.unroll(parts):
                        for lane in tirx.vectorized(LANES):
                            result[row * side + i, (tile * parts + part) * LANES + lane] = held[i, part, lane]

    return product


def _vector(outputs: int, inputs: int, side: int) -> Any:
    @tirx.prim_func
    def product(a: tirx.handle, b: tirx.handle, c: tirx.handle, d: tirx.handle, e: tirx.handle):
        tirx.func_attr({"tirx.noalias": True})
        count = tirx.int32()
        starts = tirx.match_buffer(a, (outputs // side + 1,), "int32")
        places = tirx.match_buffer(b, (count,), "int32")
        values = tirx.match_buffer(c, (count, side, side), "float32")
        column = tirx.match_buffer(d, (inputs, 1), "float32")
        result = tirx.match_buffer(e, (outputs, 1), "float32")
        for row in tirx.parallel(outputs // side):
            held = tirx.alloc_buffer((side,), "float32", scope="local")
            for i in tirx.vectorized(side):
                held[i] = tirx.float32(0)
            for j in tirx.serial(starts[row + 1] - starts[row]):
                for k in tirx.unroll(side):
                    for i in tirx.vectorized(side):
                        held[i] += values[starts[row] + j, k, i] * column[places[starts[row] + j] * side + k, 0]
            for i in tirx.vectorized(side):
                result[row * side + i, 0] = held[i]

    return product
