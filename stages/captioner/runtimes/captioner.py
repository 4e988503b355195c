"""Opens a checkpoint directory, in whatever runtime it was made for, as a captioner."""

import ctypes
import importlib
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar

from PIL import Image

from ..checkpoint import Manifest, read_manifest, verify_files
from ..command_line import InputError, brief, printable
from ..images import to_rgb
from ..inspection.files import inspect_files
from ..instruction_sets import overflows
from .cores import usable_cores
from .decoding import Decoding
from .drafts import Drafts
from .failures import remedy
from .forks import end_with_python
from .helpers import Helpers, check_threads
from .scores import Caption, ScoredTokens

if TYPE_CHECKING:  # a runtime imports it, while the checkpoint's files are verified
    import numpy as np


LOGGER = logging.getLogger(__name__)
# The extra of the package that brings a runtime along.
EXTRAS = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
# What a runtime sets while it opens, such as PyTorch's choice of kernels, is the process's.
ONE_AT_A_TIME = Lock()
# What is open in this process. A fork of it has none of the engines' threads, for which their ends would wait forever.
OPEN: "weakref.WeakSet[Parts]" = weakref.WeakSet()
# What a library in Rust raises where it gives up. Python's libraries share no such class, and it is no Exception.
PANIC = "PanicException"
# What a picture becomes: a caption, with or without scores.
Captioned = TypeVar("Captioned")


class Parts(Protocol):
    """A BLIP in some runtime, taken apart so that each part can be timed and compared.

    Pixels and states are the runtime's own; nothing outside of it looks into them. One thread at a time may use it.
    `drafts` is what it guesses words from, if it does.
    """

    drafts: Drafts | None

    def preprocess(self, images: Sequence[Image.Image]) -> Any:
        """RGB pictures of any size to what the encoder takes."""
        ...

    def encode(self, pixels: Any) -> Any:
        """What the decoder needs to know of the pictures."""
        ...

    def decode(self, states: Any, decoding: Decoding) -> list[list[int]]:
        """One caption's token ids per picture: the prompt's and the new ones, without those that begin and end it."""
        ...

    def decode_with_scores(self, states: Any, decoding: Decoding) -> list[ScoredTokens]:
        """The same captions, and how sure the model is of them."""
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
    """An open checkpoint, until it is closed or its `with` block ends. Threads that share one take turns.

    It is of use in the process that opened it alone: in a fork of that, every use is an InputError, and it may be let
    go of.
    """

    def __init__(self, parts: Parts, decoding: Decoding) -> None:
        self.decoding = decoding
        self._parts: Parts | None = parts
        self._turn = Lock()
        self._process = os.getpid()
        OPEN.add(parts)

    @property
    def parts(self) -> Parts:
        """What it consists of, for one thread at a time. Raises InputError if the captioner is closed or a fork's."""
        self._check_process()
        if self._parts is None:
            raise InputError("this captioner is closed: open its checkpoint again")
        return self._parts

    def caption(self, images: Sequence[Image.Image], decoding: Decoding | None = None) -> list[str]:
        """Captions pictures of any size and mode, as one batch, by default with the checkpoint's own decoding.

        A picture is looked at as `open_image` shows it: upright, on white, in sRGB. `images` stay as they are.

        Raises InputError if one is no picture or can't be decoded, if the caption can't fit the decoder, or if the
        captioner is closed or was opened by the process that this one is a fork of.
        """
        chosen = decoding or self.decoding
        return self._decode(
            images, lambda parts, states: [parts.detokenize(tokens) for tokens in parts.decode(states, chosen)]
        )

    def caption_with_scores(self, images: Sequence[Image.Image], decoding: Decoding | None = None) -> list[Caption]:
        """The captions that `caption` gives, and how sure the model is of each, which takes a little longer.

        Raises InputError where `caption` does.
        """
        chosen = decoding or self.decoding
        return self._decode(
            images,
            lambda parts, states: [
                Caption(parts.detokenize(tokens), score, beam_score)
                for tokens, score, beam_score in parts.decode_with_scores(states, chosen)
            ],
        )

    def _decode(
        self, images: Sequence[Image.Image], decode: Callable[[Parts, Any], list[Captioned]]
    ) -> list[Captioned]:
        """What `decode` makes of the encoded pictures, in this thread's turn; nothing of none."""
        self._check_process()  # first, as a thread of that process may have had its turn, which no one ends here
        pictures = [to_rgb(image) for image in images]
        with self._turn:
            parts = self.parts
            if not pictures:
                return []
            with _sentence("this checkpoint can't caption"):
                return decode(parts, parts.encode(parts.preprocess(pictures)))

    def close(self) -> None:
        """Frees the engine, its memory and the files that it has mapped, once no thread captions any more.

        OpenVINO with more than one thread leaves an idle thread and about a megabyte behind, each time, until the
        process ends (tests/captioner/runtimes/test_openvino_core.py shows it without this package).

        Raises InputError in a fork of the process that opened it.
        """
        self._check_process()
        with self._turn:
            self._parts = None

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise InputError(
                "this captioner was opened in another process, of which this one is a fork: "
                "open its checkpoint in each process, after the fork"
            )

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "a captioner can't be copied or sent to another process: send its checkpoint's path, and open it there"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process == os.getpid():  # a fork within the block has nothing to close
            self.close()


def _after_fork() -> None:
    """Makes what a fork inherits harmless there: nothing ends that is open, and nobody waits for the parent's threads.

    A reference that nobody counts down keeps an engine to the very end, when the interpreter lets go of all others.
    """
    global ONE_AT_A_TIME
    ONE_AT_A_TIME = Lock()
    for parts in OPEN:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(parts))
    if OPEN:
        end_with_python()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks no processes
    os.register_at_fork(after_in_child=_after_fork)


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
    check_threads(directory, manifest.runtime, threads or usable_cores())
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
        otherwise = "rebuild it with this machine's libraries"
        raise InputError(f"{failure} ({brief(error)}): {remedy(error, otherwise)}") from error


def _import_and_verify(directory: Path, manifest: Manifest) -> Any:
    """The module of a checkpoint's runtime. Other cores verify and inspect the files while one imports it."""
    with Helpers() as pool:
        verification = pool.submit(verify_files, directory, manifest)
        inspection = pool.submit(inspect_files, directory, manifest)
        runtime = _import_runtime(directory, manifest.runtime)
        verification.result()  # first, as a damaged file is to be copied again, and one that may not be opened is not
        inspection.result()
    return runtime


def _import_runtime(directory: Path, runtime: str) -> Any:
    if runtime == "pytorch" and sys.flags.optimize > 1:
        raise InputError(
            f"{directory} runs in pytorch, and transformers reads docstrings to start, which this Python leaves out: "
            "run it without -OO and PYTHONOPTIMIZE=2, or take a checkpoint for another runtime"
        )
    install = f"install blip-on-cpu with its extra [{EXTRAS[runtime]}]"
    try:
        return importlib.import_module(f".{runtime}", __package__)
    except Exception as error:  # whatever a library in C++ makes of having no memory, for instance
        help_ = install if isinstance(error, ModuleNotFoundError) else remedy(error, install)
        raise InputError(
            f"{directory} runs in {runtime}, which can't be imported here ({brief(error)}): {help_}"
        ) from None
