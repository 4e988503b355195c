"""Runs a checkpoint with OpenVINO, without torch."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from openvino import Core, Tensor, Type

from stages.runtimes.graph_captioner import GraphCaptioner
from stages.runtimes.mapped_files import released_while_read

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
        # Compiling keeps one thread busy, so both graphs together take one's time.
        with released_while_read(checkpoint), ThreadPoolExecutor() as pool:
            compiled = pool.map(lambda name: core.compile_model(checkpoint / name, "CPU", graphs[name]), graphs)
            self.requests = {name: model.create_infer_request() for name, model in zip(graphs, compiled, strict=True)}

    def encode(self, pixels: np.ndarray) -> dict[str, Tensor]:
        """Pixels to keys and values by their names, in memory of their own."""
        request = self.requests[ENCODER]
        for output in request.model_outputs:
            shape = [len(pixels), *(dimension.get_length() for dimension in output.partial_shape[1:])]
            request.set_tensor(output, Tensor(output.element_type, shape))
        self.infer(ENCODER, {"pixels": pixels})
        return {output.any_name: request.get_tensor(output) for output in request.model_outputs}

    def start_decoder(self, states: dict[str, Tensor], pictures: int, beams: int) -> "OpenVinoDecoder":
        """A decoder with an empty past."""
        request = self.requests[DECODER]
        request.reset_state()
        for name, tensor in states.items():
            request.set_tensor(name, tensor)
        return OpenVinoDecoder(self, (pictures, beams))

    def infer(self, graph: str, inputs: dict[str, np.ndarray]) -> None:
        """Runs a graph. At its first run OpenVINO repacks the weights and needs the originals no more."""
        first = graph in self.not_run_yet
        with released_while_read(self.checkpoint) if first else nullcontext():
            self.requests[graph].infer(inputs, share_inputs=True)
        self.not_run_yet.discard(graph)


class OpenVinoDecoder:
    """A decoder, see `stages.runtimes.generate.Decoder`. Its past is a state of OpenVINO's request."""

    def __init__(self, engine: OpenVinoEngine, shape: tuple[int, int]) -> None:
        self.engine, self.shape = engine, shape
        self.position = 0

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends a token to each row and returns the logits after it."""
        arrays = {
            "tokens": tokens.reshape(self.shape),
            "parents": parents.astype(np.int32),
            "position": np.asarray([self.position]),
        }
        self.engine.infer(DECODER, arrays)
        self.position += 1
        logits: np.ndarray = self.engine.requests[DECODER].get_tensor("logits").data.reshape(len(tokens), -1)
        return logits


def open_checkpoint(checkpoint: Path, threads: int | None) -> GraphCaptioner:
    """Opens a checkpoint directory whose files have been verified."""
    return GraphCaptioner(checkpoint, OpenVinoEngine(checkpoint, threads))
