"""Exports a model as two graphs in OpenVINO's format, in float or with int8.

`static-int8` quantizes the encoder's weights and activations, whose ranges calibration pictures give, and the
decoder's weights. `dynamic-int8` quantizes both graphs' weights, and activations on the fly.

Where the encoder's activations are int8, its weights use 7 of their 8 bits: a CPU without VNNI adds up two products of
8 bits in 16, which overflow, and captions differ from those of other CPUs.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import torch
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from openvino import Model
from openvino.tools.ovc import convert_model
from torch.nn.functional import linear
from transformers import BlipForConditionalGeneration

from stages.captioner.runtimes.graph_captioner import decoder_inputs, decoder_outputs, encoder_outputs, past_inputs
from stages.captioner.runtimes.openvino import DECODER, ENCODER
from stages.captioner.runtimes.openvino_core import signal_stack_kept, topology_told
from stages.captioner.runtimes.pytorch_int8 import runs_once_per_picture
from stages.captioner.runtimes.pytorch_merging import merged_patches
from stages.export import graphs
from stages.export.graphs import (
    MM,
    DecoderGraph,
    EncoderGraph,
    Product,
    decoder_example,
    encoder_example,
    linear_as_convolution,
    mark,
    mm_product,
    scale_queries,
)
from stages.export.openvino_rewrites import fold_zero_points, make_stateful, save
from stages.export.quiet import quiet
from stages.passes.int8_error import Bits
from stages.setup.params import Quantize

# An operator for the encoder's linear layers; another one for those that stay in float, and its name in OpenVINO.
PRODUCTS: dict[str, tuple[Product, Product, str]] = {
    "convolution": (linear_as_convolution, linear, "MatMul"),
    "matmul": (linear, linear_as_convolution, "Convolution"),
}


# How many weights of 4 bits have a scale of their own, if not a row: groups would take longer, and structured pruning
# leaves rows of any length.
BLOCK: int | None = None


def bits(quantize: Quantize) -> Bits:
    """The bits of a product whose activations are int8."""
    return Bits(activations=8, weights=quantize.weight_bits)


def has_int8_activations(layer: str) -> bool:
    """Whether int8 rounds what a linear layer takes in: in the decoder, only its weights."""
    return runs_once_per_picture(layer)


def product_of(layer: str) -> str:
    """The product that computes a linear layer, which others may share."""
    return graphs.product_of(layer)


@quiet()
@signal_stack_kept()
@topology_told()
def export(
    model: BlipForConditionalGeneration,
    quantize: Quantize | None,
    in_float: Collection[str],
    in_int8: Collection[str],
    calibration: Sequence[np.ndarray],
    directory: Path,
) -> dict[str, Any]:
    """Writes encoder.xml and decoder.xml with their weights in .bin files.

    `in_float` names linear layers of the encoder that int8 leaves alone, `in_int8` those of the decoder that stay in
    8 bits where others have 4, `calibration` is pixels, float32 (1, 3, side, side) each. May change the model. Returns
    what was quantized, for the checkpoint's manifest.
    """
    layers, vision = model.config.text_config.num_hidden_layers, model.config.vision_config
    static = quantize is not None and quantize.scheme == "static-int8"
    operator = quantize.encoder_product if quantize and static else "matmul"
    product, float_product, left_alone = PRODUCTS[operator]
    mark(model, in_float, float_product)
    mark(model, in_int8, mm_product)
    scale_queries(model)
    one_picture = tuple(example[:1] for example in encoder_example(model)[0])
    encoder = _convert(EncoderGraph(model, product), one_picture, None, ["pixels"], encoder_outputs(layers))
    encoder.reshape(list(one_picture[0].shape))
    example, dimensions = decoder_example(model)
    decoder = _convert(DecoderGraph(model), example, dimensions, decoder_inputs(layers), decoder_outputs(layers))
    cross = {name: [-1, *encoder.output(name).partial_shape[1:]] for name in encoder_outputs(layers)}
    pasts = zip(past_inputs(layers), example[-2 * layers :], strict=True)
    decoder.reshape(cross | {name: [-1, past.shape[1], -1, past.shape[3]] for name, past in pasts})
    if quantize:
        decoder = _compress_decoder(decoder, quantize)
        # Merging adds up states by products with ones and zeros.
        ignored = nncf.IgnoredScope(types=[left_alone] if in_float or any(merged_patches(vision)) else [])
        if static:
            encoder = _quantize_activations(encoder, calibration, ignored, quantize.weight_bits)
        else:
            encoder = nncf.compress_weights(encoder, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=ignored)
    make_stateful(decoder, layers)
    for graph, name in ((encoder, ENCODER), (decoder, DECODER)):
        save(graph, directory / name)
    if quantize is None:
        return {}
    record: dict[str, Any] = {
        "scheme": quantize.scheme,
        "dynamic_quantization_group": quantize.dynamic_quantization_group,
    }
    if static:
        record |= {"calibration_pictures": len(calibration), "weight_bits": quantize.weight_bits}
        record["encoder_product"] = operator
    return {"quantize": record}


def _convert(
    graph: torch.nn.Module,
    example: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...] | None,
    inputs: list[str],
    outputs: list[str],
) -> Model:
    with torch.no_grad():
        program = torch.export.export(graph, example, dynamic_shapes=dynamic_shapes)
    converted = convert_model(program)
    for ports, names in ((converted.inputs, inputs), (converted.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return converted


def _compress_decoder(decoder: Model, quantize: Quantize) -> Model:
    if quantize.decoder_weight_bits == 4:
        in_int8 = nncf.IgnoredScope(patterns=[f"{MM}/.*"], validate=False)
        decoder = nncf.compress_weights(
            decoder,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            ratio=1,
            group_size=BLOCK or -1,
            ignored_scope=in_int8,
            backup_mode=nncf.BackupMode.NONE,  # what is left is for 8 bits
        )
    return nncf.compress_weights(decoder, mode=nncf.CompressWeightsMode.INT8_SYM)


def _quantize_activations(
    encoder: Model, calibration: Sequence[np.ndarray], ignored: nncf.IgnoredScope, weight_bits: int
) -> Model:
    overflow_fix = nncf.OverflowFix.ENABLE if weight_bits == 7 else nncf.OverflowFix.DISABLE
    quantized = nncf.quantize(
        encoder,
        nncf.Dataset(calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
        ignored_scope=ignored,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=overflow_fix,
            # The default, the mean of the pictures' own extremes, cuts off what half of them hold.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )
    fold_zero_points(quantized)
    return quantized
