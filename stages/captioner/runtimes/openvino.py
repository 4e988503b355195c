"""Runs a checkpoint with OpenVINO, without torch."""

import logging
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Manifest, read_manifest
from ..command_line import printable
from ..instruction_sets import ARM, X86, instruction_sets, known_instruction_sets
from .compiled_graphs import compile_graph, weights_file
from .graph_captioner import TOKEN_INPUTS, GraphCaptioner
from .helpers import Helpers
from .memory import released_while_read
from .openvino_api import InferRequest, Tensor
from .openvino_core import start_core
from .openvino_precision import choose_group, choose_precision, describe_arithmetic, usable_instruction_sets
from .past import Past

LOGGER = logging.getLogger(__name__)
ENCODER, DECODER = "encoder.xml", "decoder.xml"


class OpenVinoEngine:
    """An engine, see `runtimes.graph_captioner.Engine`. The decoder reads keys and values where the encoder put
    them."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        core = start_core()
        quantized = read_manifest(checkpoint).passes.get("quantize")
        sets = usable_instruction_sets(instruction_sets(), os.environ)
        # Computed in bfloat16, keys and values pass between the graphs in it too.
        precision = choose_precision(core, quantized=quantized is not None, sets=sets)
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "CACHE_MODE": "OPTIMIZE_SIZE",  # a kept graph leaves out the weights, which the checkpoint has
        }
        if threads == 1:
            settings["NUM_STREAMS"] = "0"  # the caller's thread does it all, so none is started
        group = choose_group((quantized or {}).get("dynamic_quantization_group", "auto"), sets)
        one_row = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": group, "KV_CACHE_PRECISION": precision}
        # Either graph keeps one thread busy until it is ready, so both together take one's time.
        files = [weights_file(checkpoint / graph) for graph in (ENCODER, DECODER)]
        with released_while_read(files) as held, Helpers() as pool:
            encoder = pool.submit(compile_graph, core, checkpoint / ENCODER, settings, held)
            self.decoder = compile_graph(core, checkpoint / DECODER, settings | one_row, held).create_infer_request()
            self.spare_tensors: dict[str, Tensor] = {}
            self._run_decoder_once()
            self.encoder = encoder.result().create_infer_request()

    def _run_decoder_once(self) -> None:
        """At its first run OpenVINO repacks the weights, and needs the originals no more."""
        states = self._memory_for_states(pictures=1)
        for tensor in states.values():
            tensor.data.fill(0)  # else the system gives out each page twice: for reading, then for the encoder to write
        nothing = np.zeros((1, 1), dtype=np.int64)
        self.start_decoder(states, pictures=1, beams=1).step(nothing, nothing[0])

    def encode(self, pixels: np.ndarray) -> "States":
        """Pixels to keys and values. The graph takes one picture at a time."""
        states = self._memory_for_states(len(pixels))
        for number, picture in enumerate(pixels):
            self.encoder.set_tensor("pixels", Tensor(picture[None], shared_memory=True))
            for name, tensor in states.items():
                shape = tensor.shape[1:]
                self.encoder.set_tensor(name, Tensor(tensor, [number, *[0] * len(shape)], [number + 1, *shape]))
            self.encoder.infer()
        return states

    def _memory_for_states(self, pictures: int) -> "States":
        """Uses the last pictures' memory if nobody holds them any more: the system gives out new pages slowly."""
        tensors, self.spare_tensors = self.spare_tensors, {}
        ports = {port.any_name: port for port in self.decoder.model_inputs if port.any_name not in TOKEN_INPUTS}
        shapes = {name: [pictures, *port.partial_shape.get_max_shape()[1:]] for name, port in ports.items()}
        if any(name not in tensors or list(tensors[name].shape) != shape for name, shape in shapes.items()):
            tensors = {name: Tensor(port.element_type, shapes[name]) for name, port in ports.items()}
        states = States(tensors)
        weakref.finalize(states, setattr, self, "spare_tensors", tensors)
        return states

    def start_decoder(self, states: "States", pictures: int, beams: int) -> "OpenVinoDecoder":
        """A decoder with an empty past."""
        self.decoder.reset_state()
        for name, tensor in states.items():
            self.decoder.set_tensor(name, tensor)
        return OpenVinoDecoder(self.decoder, (pictures, beams))


class States(dict[str, Tensor]):
    """Keys and values of some pictures by their names."""


class OpenVinoDecoder:
    """A decoder, see `runtimes.generate.Decoder`. Its past is a state of OpenVINO's request."""

    def __init__(self, request: InferRequest, shape: tuple[int, int]) -> None:
        self.request, self.shape = request, shape
        self.past = Past(shape[0] * shape[1])

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends words to each row and returns the logits after each."""
        positions, mask = self.past.append(parents, tokens.shape[1])
        shape = (*self.shape, tokens.shape[1])
        arrays = (tokens.reshape(shape), positions.reshape(shape), parents.astype(np.int32), mask)
        # Held until the step is over, as a tensor that shares an array's memory doesn't keep it.
        held = [np.ascontiguousarray(array) for array in arrays]
        for name, array in zip(TOKEN_INPUTS, held, strict=True):
            self.request.set_tensor(name, Tensor(array, shared_memory=True))
        self.request.infer()
        logits: np.ndarray = self.request.get_tensor("logits").data.reshape(*tokens.shape, -1)
        return logits

    def cut_back(self, lengths: np.ndarray) -> None:
        """Forgets each row's words behind a length."""
        self.past.cut_back(lengths)


def open_checkpoint(checkpoint: Path, threads: int) -> GraphCaptioner:
    """Opens a checkpoint directory whose files have been verified. Logs a warning if captions can differ here."""
    _warn_of_other_numbers(checkpoint, read_manifest(checkpoint))
    return GraphCaptioner(checkpoint, OpenVinoEngine(checkpoint, threads))


def _warn_of_other_numbers(checkpoint: Path, manifest: Manifest) -> None:
    """What is not known of either CPU is no reason to warn."""
    quantized = manifest.passes.get("quantize")
    there, here = (describe_arithmetic(quantized, sets) for sets in (manifest.validated_on, instruction_sets()))
    if there != here and manifest.validated_on and known_instruction_sets().keys() >= {*X86, *ARM}:
        LOGGER.warning(
            "%s was validated in %s, and this CPU computes it in %s: captions may differ; `dvc repro` in its project "
            "measures how often",
            printable(checkpoint),
            there,
            here,
        )
