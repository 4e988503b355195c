"""What every runtime offers: a captioner, opened from a checkpoint directory."""

import importlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from ..checkpoint import read_manifest, verify_files
from ..command_line import InputError, brief
from ..instruction_sets import instruction_sets
from .cores import usable_cores
from .decoding import Decoding

if TYPE_CHECKING:  # a runtime imports it, while the checkpoint's files are verified
    import numpy as np


class Captioner(Protocol):
    """A BLIP in some runtime, taken apart so that each part can be timed and compared.

    Pixels and states are the runtime's own; nothing outside of it looks into them.
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

    def next_token_logits(self, states: Any, tokens: Sequence[Sequence[int]]) -> "list[np.ndarray]":
        """For each picture, the logits after the beginning and after each of the given tokens.

        Returns one float32 array of shape (1 + number of tokens, vocabulary) per picture.
        """
        ...


def open_captioner(checkpoint: Path, threads: int | None = None) -> Captioner:
    """Verifies a checkpoint directory and opens it in the runtime that it was made for.

    `threads` is how many CPU threads the runtime may use; without it, one for each physical core that it may use.

    Says so on stderr if the CPU lacks instruction sets of the one that the checkpoint was validated on.

    Raises InputError if the directory is not a whole checkpoint, or if its runtime is not installed or can't open it.
    """
    manifest = read_manifest(checkpoint)
    if missing := [name for name in manifest.validated_on if name not in instruction_sets()]:
        print(
            f"warning: {checkpoint} was validated on a CPU with {', '.join(missing)}, which this one lacks: "
            "captions may differ, `dvc repro` measures how often",
            file=sys.stderr,
        )
    if manifest.runtime != "pytorch":
        # Nothing multiplies matrices with numpy then, but its threads would spin for a while, waiting for some.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ThreadPoolExecutor() as pool:  # one core reads the files while another imports
        verification = pool.submit(verify_files, checkpoint, manifest)
        try:
            runtime = importlib.import_module(f".{manifest.runtime}", __package__)
        except ImportError as error:
            raise InputError(
                f"{checkpoint} runs in {manifest.runtime}, which can't be imported here ({error}): "
                "install requirements.txt"
            ) from None
        verification.result()
    try:
        captioner: Captioner = runtime.open_checkpoint(checkpoint, threads or usable_cores())
    except InputError:
        raise
    except Exception as error:  # each runtime has kinds of its own, and some share none
        raise InputError(
            f"{manifest.runtime} can't open {checkpoint}, whose files are whole ({brief(error)}): free memory, "
            "or rebuild it with this machine's libraries"
        ) from error
    return captioner


def caption(captioner: Captioner, images: Sequence[Image.Image], decoding: Decoding) -> list[str]:
    """Captions a batch of RGB pictures."""
    states = captioner.encode(captioner.preprocess(images))
    return [captioner.detokenize(tokens) for tokens in captioner.decode(states, decoding)]
