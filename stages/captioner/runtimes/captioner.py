"""Opens a checkpoint directory, in whatever runtime it was made for, as a captioner."""

import importlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, Self

from PIL import Image

from ..checkpoint import Manifest, read_manifest, verify_files
from ..command_line import InputError, brief, printable
from ..images import to_rgb
from ..inspection.files import inspect_files
from ..instruction_sets import overflows
from .cores import usable_cores
from .decoding import Decoding

if TYPE_CHECKING:  # a runtime imports it, while the checkpoint's files are verified
    import numpy as np


LOGGER = logging.getLogger(__name__)
# The extra of the package that brings a runtime along.
EXTRAS = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
# What a runtime sets while it opens, such as PyTorch's choice of kernels, is the process's.
ONE_AT_A_TIME = Lock()
# What a library in Rust raises where it gives up. Python's libraries share no such class, and it is no Exception.
PANIC = "PanicException"


class Parts(Protocol):
    """A BLIP in some runtime, taken apart so that each part can be timed and compared.

    Pixels and states are the runtime's own; nothing outside of it looks into them. One thread at a time may use it.
    """

    def preprocess(self, images: Sequence[Image.Image]) -> Any:
        """RGB pictures of any size to what the encoder takes."""
        ...

    def encode(self, pixels: Any) -> Any:
        """What the decoder needs to know of the pictures."""
        ...

    def decode(self, states: Any, decoding: Decoding) -> list[list[int]]:
        """One caption's token ids per picture: the prompt's and the new ones, without those that begin and end it."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Token ids to the caption that a person reads."""
        ...

    def normalize(self, text: str) -> str:
        """A text in the letters in which captions come, such as without capitals and accents."""
        ...

    def can_say(self, text: str) -> bool:
        """Whether the vocabulary has all words of a text."""
        ...

    def next_token_logits(self, states: Any, tokens: Sequence[Sequence[int]]) -> "list[np.ndarray]":
        """For each picture, the logits after the beginning and after each of the given tokens.

        Returns one float32 array of shape (1 + number of tokens, vocabulary) per picture.
        """
        ...


class Captioner:
    """An open checkpoint, until it is closed or its `with` block ends. Threads that share one take turns."""

    def __init__(self, parts: Parts, decoding: Decoding) -> None:
        self.decoding = decoding
        self._parts: Parts | None = parts
        self._turn = Lock()

    @property
    def parts(self) -> Parts:
        """What it consists of, for one thread at a time. Raises InputError if the captioner is closed."""
        if self._parts is None:
            raise InputError("this captioner is closed: open its checkpoint again")
        return self._parts

    def caption(self, images: Sequence[Image.Image], decoding: Decoding | None = None) -> list[str]:
        """Captions pictures of any size and mode, as one batch, by default with the checkpoint's own decoding.

        A picture is looked at as `open_image` shows it: upright, on white, in sRGB. `images` stay as they are.

        Raises InputError if one is no picture or can't be decoded, if the caption can't fit the decoder, or if the
        captioner is closed.
        """
        pictures = [to_rgb(image) for image in images]
        with self._turn:
            parts = self.parts
            if not pictures:
                return []
            with _sentence("this checkpoint can't caption"):
                states = parts.encode(parts.preprocess(pictures))
                return [parts.detokenize(tokens) for tokens in parts.decode(states, decoding or self.decoding)]

    def close(self) -> None:
        """Frees the engine, its memory and the files that it has mapped, once no thread captions any more."""
        with self._turn:
            self._parts = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_captioner(checkpoint: str | os.PathLike[str], threads: int | None = None) -> Captioner:
    """Verifies a checkpoint directory and opens it in the runtime that it was made for.

    `threads` is how many CPU threads the runtime may use. Without it, ONNX Runtime and OpenVINO take one for each
    physical core that they may use; PyTorch's threads are all that the process has for it, and stay as they are.

    Logs a warning if captions can differ from those that the checkpoint was validated with, as this CPU makes the
    runtime compute in other numbers.

    Raises InputError if the directory is not a whole checkpoint, if its products would overflow on this CPU, or if its
    runtime is not installed or can't open it.
    """
    directory = Path(checkpoint)
    manifest = read_manifest(directory)
    overflow = overflows(manifest.weight_bits)
    if overflow is None:
        LOGGER.warning(
            "%s has weights of 8 bits, whose products overflow on a CPU without VNNI, and nobody can tell here whether "
            "this one has it",
            printable(directory),
        )
    if overflow:
        raise InputError(
            f"{directory} has weights of 8 bits, whose products overflow on this CPU, as it has no VNNI: "
            "build it with weight_bits: 7"
        )
    runtime = _import_and_verify(directory, manifest)
    if threads is None and manifest.runtime != "pytorch":
        threads = usable_cores()
    with ONE_AT_A_TIME, _sentence(f"{manifest.runtime} can't open {directory}, whose files are whole"):
        return Captioner(runtime.open_checkpoint(directory, threads), manifest.decoding)


@contextmanager
def _sentence(failure: str) -> Iterator[None]:
    """Raises InputError for whatever goes wrong in a runtime: each has kinds of its own, and some share none."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        raise InputError(
            f"{failure} ({brief(error)}): free memory, or rebuild it with this machine's libraries"
        ) from error


def _import_and_verify(directory: Path, manifest: Manifest) -> Any:
    """The module of a checkpoint's runtime. Other cores verify and inspect the files while one imports it."""
    with ThreadPoolExecutor() as pool:
        verification = pool.submit(verify_files, directory, manifest)
        inspection = pool.submit(inspect_files, directory, manifest)
        try:
            runtime = importlib.import_module(f".{manifest.runtime}", __package__)
        except ImportError as error:
            raise InputError(
                f"{directory} runs in {manifest.runtime}, which can't be imported here ({brief(error)}): "
                f"install blip-on-cpu with its extra [{EXTRAS[manifest.runtime]}]"
            ) from None
        verification.result()  # first, as a damaged file is to be copied again, and one that may not be opened is not
        inspection.result()
    return runtime
