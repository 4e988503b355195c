"""Exports a model as two graphs in OpenVINO's format, in float or with int8.

`static-int8` quantizes the encoder's weights and activations, whose ranges calibration pictures give, and the
decoder's weights. `dynamic-int8` quantizes both graphs' weights, and activations on the fly.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
import torch
from openvino import opset13 as operations
from openvino.preprocess import PrePostProcessor
from torch.nn.functional import linear
from transformers import BlipForConditionalGeneration

from stages.export.graphs import (
    DecoderGraph,
    EncoderGraph,
    decoder_example,
    encoder_example,
    heads_and_width,
    linear_as_convolution,
)
from stages.params import Quantize
from stages.runtimes.graph_captioner import decoder_inputs, decoder_outputs, encoder_outputs, past_inputs
from stages.runtimes.openvino import DECODER, ENCODER


def export(
    model: BlipForConditionalGeneration, quantize: Quantize | None, calibration: Sequence[np.ndarray], directory: Path
) -> dict[str, Any]:
    """Writes encoder.xml and decoder.xml with their weights in .bin files.

    `calibration` is pixels, float32 (1, 3, side, side) each. Returns what was quantized, for the checkpoint's manifest.
    """
    layers = model.config.text_config.num_hidden_layers
    # In int8, and for one picture, OpenVINO's convolution is a tenth quicker than its product of matrices.
    product = linear_as_convolution if quantize and quantize.scheme == "static-int8" else linear
    encoder = _convert(EncoderGraph(model, product), *encoder_example(model), ["pixels"], encoder_outputs(layers))
    encoder.reshape([1, *encoder.input().partial_shape[1:]])
    decoder = _convert(DecoderGraph(model), *decoder_example(model), decoder_inputs(layers), decoder_outputs(layers))
    decoder.reshape({name: [-1, *encoder.output(name).partial_shape[1:]] for name in encoder_outputs(layers)})
    record: dict[str, Any] = {}
    if quantize:
        record["scheme"] = quantize.scheme
        nncf.set_log_level("ERROR")
        decoder = nncf.compress_weights(decoder, mode=nncf.CompressWeightsMode.INT8_SYM)
        if quantize.scheme == "static-int8":
            record["calibration_pictures"] = len(calibration)
            encoder = _quantize_activations(encoder, calibration)
        else:
            encoder = nncf.compress_weights(encoder, mode=nncf.CompressWeightsMode.INT8_SYM)
        encoder, decoder = _pass_in_bfloat16(encoder, decoder, encoder_outputs(layers))
    _make_stateful(decoder, layers, *heads_and_width(model))
    for graph, name in ((encoder, ENCODER), (decoder, DECODER)):
        openvino.save_model(graph, directory / name, compress_to_fp16=False)
    return {"quantize": record} if quantize else {}


def _convert(
    graph: torch.nn.Module,
    example: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
) -> openvino.Model:
    with torch.no_grad():
        program = torch.export.export(graph, example, dynamic_shapes=dynamic_shapes)
    converted = openvino.convert_model(program)
    for ports, names in ((converted.inputs, inputs), (converted.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return converted


def _quantize_activations(encoder: openvino.Model, calibration: Sequence[np.ndarray]) -> openvino.Model:
    return nncf.quantize(
        encoder,
        nncf.Dataset(calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
    )


def _pass_in_bfloat16(
    encoder: openvino.Model, decoder: openvino.Model, names: Iterable[str]
) -> tuple[openvino.Model, openvino.Model]:
    """Makes the encoder's keys and values bfloat16: half the memory for the decoder to read at every token."""
    giver, taker = PrePostProcessor(encoder), PrePostProcessor(decoder)
    for name in names:
        giver.output(name).tensor().set_element_type(openvino.Type.bf16)
        taker.input(name).tensor().set_element_type(openvino.Type.bf16)
    return giver.build(), taker.build()


def _make_stateful(decoder: openvino.Model, layers: int, heads: int, width: int) -> None:
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
    shape = operations.concat(
        [operations.shape_of(parents), operations.constant(np.asarray([heads, 0, width], dtype=np.int64))], 0
    )
    nothing = operations.broadcast(operations.constant(np.float32(0)), shape)
    for operation in decoder.get_ops():
        if operation.get_type_name() == "ReadValue":
            operation.set_arguments([nothing.output(0)])
    decoder.validate_nodes_and_infer_types()
