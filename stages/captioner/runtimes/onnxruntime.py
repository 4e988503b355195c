"""Runs a checkpoint with ONNX Runtime, without torch."""

import mmap
from pathlib import Path

import numpy as np

from .graph_captioner import TOKEN_INPUTS, GraphCaptioner, past_inputs
from .helpers import Helpers
from .memory import released_while_read
from .onnxruntime_api import InferenceSession, OrtValue, SessionOptions
from .past import Past

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


class OnnxRuntimeEngine:
    """An engine, see `runtimes.graph_captioner.Engine`. Keys and values stay in ONNX Runtime's own memory."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        files = {name: checkpoint / weights_file(name) for name in (ENCODER, DECODER)}
        with released_while_read(files.values()), Helpers() as pool:
            self.weights = {name: _map(file) for name, file in files.items()}
            encoder = pool.submit(_open_session, checkpoint / ENCODER, self.weights[ENCODER], threads)
            self.decoder = _open_session(checkpoint / DECODER, self.weights[DECODER], threads)
            self.encoder = encoder.result()

    def encode(self, pixels: np.ndarray) -> dict[str, OrtValue]:
        """Pixels to keys and values by their names."""
        names = [output.name for output in self.encoder.get_outputs()]
        values = self.encoder.run_with_ort_values(names, {"pixels": OrtValue.ortvalue_from_numpy(pixels)})
        return dict(zip(names, values, strict=True))

    def start_decoder(self, states: dict[str, OrtValue], pictures: int, beams: int) -> "OnnxRuntimeDecoder":
        """A decoder with an empty past."""
        return OnnxRuntimeDecoder(self, states, (pictures, beams))


class OnnxRuntimeDecoder:
    """A decoder, see `runtimes.generate.Decoder`."""

    def __init__(self, engine: OnnxRuntimeEngine, states: dict[str, OrtValue], shape: tuple[int, int]) -> None:
        self.engine, self.session, self.shape = engine, engine.decoder, shape  # the engine, as it holds the weights
        self.past = Past(shape[0] * shape[1])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.pasts = past_inputs(len(states) // 2)
        shapes = {value.name: value.shape for value in self.session.get_inputs()}
        empty = {
            name: np.empty((shape[0] * shape[1], shapes[name][1], 0, shapes[name][3]), dtype=np.float32)
            for name in self.pasts
        }
        self.values = states | {name: OrtValue.ortvalue_from_numpy(past) for name, past in empty.items()}

    def step(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Appends words to each row and returns the logits after each."""
        positions, mask = self.past.append(parents, tokens.shape[1])
        shape = (*self.shape, tokens.shape[1])
        arrays = (tokens.reshape(shape), positions.reshape(shape), parents.reshape(self.shape), mask)
        values = map(OrtValue.ortvalue_from_numpy, arrays)
        self.values |= dict(zip(TOKEN_INPUTS, values, strict=True))
        logits, *presents = self.session.run_with_ort_values(self.outputs, self.values)
        self.values |= dict(zip(self.pasts, presents, strict=True))
        rows: np.ndarray = logits.numpy().reshape(*tokens.shape, -1)
        return rows

    def cut_back(self, lengths: np.ndarray) -> None:
        """Forgets each row's words behind a length."""
        self.past.cut_back(lengths)


def open_checkpoint(checkpoint: Path, threads: int) -> GraphCaptioner:
    """Opens a checkpoint directory whose files have been verified."""
    return GraphCaptioner(checkpoint, OnnxRuntimeEngine(checkpoint, threads))


def weights_file(graph: str) -> str:
    """The name of the file that holds a graph's weights."""
    return f"{graph}.data"


def _map(file: Path) -> mmap.mmap:
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _open_session(path: Path, weights: mmap.mmap, threads: int) -> InferenceSession:
    """Opens a graph. Its weights must stay mapped for as long as it is in use."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    # A plan of the memory for every length of the past would only take memory.
    options.enable_mem_pattern = False
    # The threads of one graph must not keep the cores busy waiting while the other graph runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # By itself, ONNX Runtime opens no weights that are a link to another folder, such as DVC's cache.
    options.add_external_initializers_from_files_in_memory([weights_file(path.name)], [weights], [len(weights)])
    options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
    # Where it can't open the graph, it would print so on standard output and try the same again.
    return InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
