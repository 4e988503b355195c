"""Runs a checkpoint with OpenVINO, without torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from openvino import Core, InferRequest, Tensor, Type

from stages.runtimes.graph_captioner import GraphCaptioner

ENCODER, DECODER = "encoder.xml", "decoder.xml"


class OpenVinoEngine:
    """An engine, see `stages.runtimes.graph_captioner.Engine`. The decoder reads keys and values where the encoder put
    them."""

    def __init__(self, checkpoint: Path, threads: int | None) -> None:
        core = Core()
        encoder, decoder = (core.read_model(checkpoint / name) for name in (ENCODER, DECODER))
        # Checkpoints that pass bfloat16 between their graphs are made to be computed in it where the CPU can.
        half = encoder.output(0).element_type == Type.bf16
        half = half and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = Type.bf16 if half else Type.f32
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        # One token is one row: quantizing it on the fly costs more than the int8 product gains.
        one_row = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": precision}
        with ThreadPoolExecutor() as pool:  # compiling keeps one thread busy, so both graphs together take one's time
            compiled = pool.map(core.compile_model, (encoder, decoder), ("CPU", "CPU"), (settings, settings | one_row))
            self.encoder, self.decoder = (model.create_infer_request() for model in compiled)

    def encode(self, pixels: np.ndarray) -> dict[str, Tensor]:
        """Pixels to keys and values by their names, in memory of their own."""
        outputs = self.encoder.model_outputs
        for output in outputs:
            shape = [len(pixels), *(dimension.get_length() for dimension in output.partial_shape[1:])]
            self.encoder.set_tensor(output, Tensor(output.element_type, shape))
        self.encoder.infer({"pixels": pixels}, share_inputs=True)
        return {output.any_name: self.encoder.get_tensor(output) for output in outputs}

    def start_decoder(self, states: dict[str, Tensor], pictures: int, beams: int) -> "OpenVinoDecoder":
        """A decoder with an empty past."""
        return OpenVinoDecoder(self.decoder, states, (pictures, beams))


class OpenVinoDecoder:
    """A decoder, see `stages.runtimes.generate.Decoder`. Its past is a state of OpenVINO's request."""

    def __init__(self, request: InferRequest, states: dict[str, Tensor], shape: tuple[int, int]) -> None:
        self.request, self.shape = request, shape
        self.position = 0
        request.reset_state()
        for name, tensor in states.items():
            request.set_tensor(name, tensor)

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends a token to each row and returns the logits after it."""
        arrays = {
            "tokens": tokens.reshape(self.shape),
            "parents": parents.astype(np.int32),
            "position": np.asarray([self.position]),
        }
        self.request.infer(arrays)
        self.position += 1
        logits: np.ndarray = self.request.get_tensor("logits").data.reshape(len(tokens), -1)
        return logits


def open_checkpoint(checkpoint: Path, threads: int | None) -> GraphCaptioner:
    """Opens a checkpoint directory whose files have been verified."""
    return GraphCaptioner(checkpoint, OpenVinoEngine(checkpoint, threads))
