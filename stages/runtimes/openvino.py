"""Runs a checkpoint with OpenVINO, without torch."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from openvino import Core, Tensor, Type

from stages.runtimes.graph_captioner import GraphCaptioner
from stages.runtimes.memory import released_while_read, small_heap

ENCODER, DECODER = "encoder.xml", "decoder.xml"
# OpenVINO keeps here what it made of a graph for this CPU, and starts in a fraction of the time when it finds it.
COMPILED_GRAPHS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "blip-on-cpu" / "openvino"


class OpenVinoEngine:
    """An engine, see `stages.runtimes.graph_captioner.Engine`. The decoder reads keys and values where the encoder put
    them."""

    def __init__(self, checkpoint: Path, threads: int | None) -> None:
        core = Core()
        core.set_property({"CACHE_DIR": str(COMPILED_GRAPHS)})
        # Checkpoints that pass bfloat16 between their graphs are made to be computed in it where the CPU can.
        half = core.read_model(checkpoint / ENCODER).output(0).element_type == Type.bf16
        half = half and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = Type.bf16 if half else Type.f32
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "CACHE_MODE": "OPTIMIZE_SIZE",  # leaves out the weights, which the checkpoint has
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        # One token is one row: quantizing it on the fly costs more than the int8 product gains.
        one_row = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": precision}
        graphs = {ENCODER: settings, DECODER: settings | one_row}
        self.checkpoint, self.not_run_yet = checkpoint, set(graphs)
        self.spare_tensors: dict[str, Tensor] = {}
        # Compiling keeps one thread busy, so both graphs together take one's time.
        with released_while_read(checkpoint), ThreadPoolExecutor() as pool:
            compiled = pool.map(lambda name: core.compile_model(checkpoint / name, "CPU", graphs[name]), graphs)
            self.requests = {name: model.create_infer_request() for name, model in zip(graphs, compiled, strict=True)}

    def encode(self, pixels: np.ndarray) -> "States":
        """Pixels to keys and values. The graph takes one picture at a time."""
        request, states = self.requests[ENCODER], self._memory_for_states(len(pixels))
        for number, picture in enumerate(pixels):
            request.set_tensor("pixels", Tensor(picture[None], shared_memory=True))
            for name, tensor in states.items():
                shape = tensor.shape[1:]
                request.set_tensor(name, Tensor(tensor, [number, *[0] * len(shape)], [number + 1, *shape]))
            self.infer(ENCODER)
        return states

    def _memory_for_states(self, pictures: int) -> "States":
        """Uses the last pictures' memory if nobody holds them any more: the system gives out new pages slowly."""
        tensors, self.spare_tensors = self.spare_tensors, {}
        outputs = self.requests[ENCODER].model_outputs
        shapes = {output.any_name: [pictures, *output.shape[1:]] for output in outputs}
        if any(name not in tensors or list(tensors[name].shape) != shape for name, shape in shapes.items()):
            tensors = {output.any_name: Tensor(output.element_type, shapes[output.any_name]) for output in outputs}
        states = States(tensors)
        weakref.finalize(states, setattr, self, "spare_tensors", tensors)
        return states

    def start_decoder(self, states: "States", pictures: int, beams: int) -> "OpenVinoDecoder":
        """A decoder with an empty past."""
        request = self.requests[DECODER]
        request.reset_state()
        for name, tensor in states.items():
            request.set_tensor(name, tensor)
        return OpenVinoDecoder(self, (pictures, beams))

    def infer(self, graph: str) -> None:
        """Runs a graph. At its first run OpenVINO repacks the weights and needs the originals no more."""
        first = graph in self.not_run_yet
        with released_while_read(self.checkpoint) if first else nullcontext():
            self.requests[graph].infer()
        self.not_run_yet.discard(graph)


class States(dict[str, Tensor]):
    """Keys and values of some pictures by their names."""


class OpenVinoDecoder:
    """A decoder, see `stages.runtimes.generate.Decoder`. Its past is a state of OpenVINO's request."""

    def __init__(self, engine: OpenVinoEngine, shape: tuple[int, int]) -> None:
        self.engine = engine
        self.tokens, self.position = np.zeros(shape, dtype=np.int64), np.full(1, -1, dtype=np.int64)
        self.parents = np.zeros(self.tokens.size, dtype=np.int32)
        self.request = engine.requests[DECODER]
        for name, array in (("tokens", self.tokens), ("position", self.position), ("parents", self.parents)):
            self.request.set_tensor(name, Tensor(array, shared_memory=True))

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends a token to each row and returns the logits after it."""
        self.tokens.flat[:], self.parents[:] = tokens, parents
        self.position += 1
        self.engine.infer(DECODER)
        logits: np.ndarray = self.request.get_tensor("logits").data.reshape(len(tokens), -1)
        return logits


def open_checkpoint(checkpoint: Path, threads: int | None) -> GraphCaptioner:
    """Opens a checkpoint directory whose files have been verified."""
    with small_heap():
        return GraphCaptioner(checkpoint, OpenVinoEngine(checkpoint, threads))
