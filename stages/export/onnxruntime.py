"""Exports a model as two ONNX graphs for ONNX Runtime, in float or with dynamic int8.

Dynamic int8 rounds what a layer takes in, too. In the encoder it has one scale for all that. In the decoder each block
of a word's numbers has its own, so that words that are read in one step don't change each other.

Unless a recipe says otherwise, the encoder's int8 weights use 7 of their 8 bits: where a CPU lacks VNNI, sums of two
products of 8 bits overflow and captions go wrong (onnxruntime#5849). The decoder's products add up in more bits.
"""

import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from torch import addmm
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.graph_captioner import decoder_inputs, decoder_outputs, encoder_outputs
from stages.captioner.runtimes.onnxruntime import DECODER, ENCODER, weights_file
from stages.export import graphs
from stages.export.graphs import (
    MM,
    DecoderGraph,
    EncoderGraph,
    attend_by_products,
    decoder_example,
    encoder_example,
    mark,
    mm_product,
    scale_queries,
)
from stages.export.quiet import quiet
from stages.passes.int8_error import Bits
from stages.setup.params import Quantize

# The first version whose `Attention` operator is one node, which ONNX Runtime computes without storing the scores.
OPSET = 23
# How many weights have a scale of their own: as quick as one scale for all, while 32 take a quarter longer.
BLOCK: int | None = 128
INT8_ACTIVATIONS = 4  # an accuracy level of ONNX Runtime's


class Int8Embedding(torch.nn.Module):
    """A word embedding with one scale per word, a quarter of the size of float32."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
        self.scale = torch.nn.Buffer(scale)
        self.rows = torch.nn.Buffer((weight / scale).round().to(torch.int8))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens, int64 of any shape, to float32 rows of the embedding."""
        return self.rows[tokens].float() * self.scale[tokens]


def bits(quantize: Quantize) -> Bits:
    """The bits of a product."""
    return Bits(activations=8, weights=quantize.weight_bits)


def has_int8_activations(layer: str) -> bool:
    """Whether int8 rounds what a linear layer takes in."""
    return True


def product_of(layer: str) -> str:
    """The product that computes a linear layer, which others may share."""
    return graphs.product_of(layer)


@quiet()
def export(
    model: BlipForConditionalGeneration,
    quantize: Quantize | None,
    in_float: Collection[str],
    in_int8: Collection[str],
    calibration: Sequence[np.ndarray],
    directory: Path,
) -> dict[str, Any]:
    """Writes encoder.onnx and decoder.onnx, their weights beside them. Dynamic int8 needs no calibration. May change
    the model. `in_float` names linear layers that int8 leaves alone, `in_int8` those of the decoder that are left in 8
    bits where others have 4.

    Returns what was quantized, for the checkpoint's manifest.
    """
    layers = model.config.text_config.num_hidden_layers
    if quantize:
        words = model.text_decoder.bert.embeddings
        words.word_embeddings = Int8Embedding(words.word_embeddings.weight)
        mark(model, in_float, _gemm)
        mark(model, in_int8, mm_product)
    scale_queries(model)
    inputs, outputs = decoder_inputs(layers), decoder_outputs(layers)
    with tempfile.TemporaryDirectory() as folder:
        encoder, decoder = Path(folder, ENCODER), Path(folder, DECODER)
        _export_graph(EncoderGraph(model), *encoder_example(model), ["pixels"], encoder_outputs(layers), encoder)
        _export_graph(DecoderGraph(model, attend_by_products), *decoder_example(model), inputs, outputs, decoder)
        for graph, quantize_graph in ((encoder, _quantize_encoder), (decoder, _quantize_decoder)):
            finished = _fold_constants(graph)
            if quantize:
                finished = quantize_graph(finished, quantize)
            # Weights in a file of their own are mapped into memory instead of being read and copied.
            onnx.save_model(
                finished, directory / graph.name, save_as_external_data=True, location=weights_file(graph.name)
            )
    return {"quantize": {"scheme": quantize.scheme, "weight_bits": quantize.weight_bits}} if quantize else {}


def _gemm(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A linear layer as the operator Gemm, by which `_write` knows those that stay in float."""
    return addmm(bias, states.flatten(0, -2), weight.T).reshape(*states.shape[:-1], -1)


def _export_graph(
    graph: torch.nn.Module,
    example: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
    path: Path,
) -> None:
    torch.onnx.export(
        graph,
        example,
        path,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=dynamic_shapes,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _fold_constants(graph: Path) -> onnx.ModelProto:
    """Without which weights are not recognized as such."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(graph.with_suffix(".folded.onnx"))
    onnxruntime.InferenceSession(graph, options)
    return onnx.load(options.optimized_model_filepath)


def _quantize_encoder(graph: onnx.ModelProto, quantize: Quantize) -> onnx.ModelProto:
    # The quantizer makes each Gemm a MatMul of this name before it looks for what to quantize.
    in_float = [f"{node.name}_MatMul" for node in graph.graph.node if node.op_type == "Gemm"]
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder, ENCODER)
        quantize_dynamic(
            graph,
            quantized,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=in_float,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=quantize.weight_bits == 7,
        )
        return onnx.load(quantized)


def _quantize_decoder(graph: onnx.ModelProto, quantize: Quantize) -> onnx.ModelProto:
    """Makes each MatMul with weights one of 8 bits, or of 4 where 8 are not asked for; those that stay in float are
    Gemm."""
    in_int8 = [node.name for node in graph.graph.node if re.fullmatch(MM, node.name)]
    if quantize.decoder_weight_bits == 4:
        graph = _compress_weights(graph, 4, in_int8)
    return _compress_weights(graph, 8, [])


def _compress_weights(graph: onnx.ModelProto, bits: int, left_alone: list[str]) -> onnx.ModelProto:
    settings = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_ACTIVATIONS, bits=bits
    )
    quantizer = MatMulNBitsQuantizer(graph, nodes_to_exclude=left_alone, algo_config=settings)
    quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
