"""What a module of this package has that writes a model for a runtime: `optimize` picks it by the runtime's name."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import BlipForConditionalGeneration

from stages.passes.int8_error import Bits
from stages.setup.params import Quantize


class Exporter(Protocol):
    """A module such as `stages.export.openvino`. Linear layers are named as they are in the model."""

    BLOCK: int | None
    """How many weights of 4 bits have a scale of their own, None: a row. Of use where recipes may ask for 4 bits."""

    def bits(self, quantize: Quantize) -> Bits:
        """The bits of a product whose activations are int8."""
        ...

    def has_int8_activations(self, layer: str) -> bool:
        """Whether int8 rounds what a linear layer takes in."""
        ...

    def product_of(self, layer: str) -> str:
        """The name of the product that computes a linear layer: those that share one have the same bits."""
        ...

    def export(
        self,
        model: BlipForConditionalGeneration,
        quantize: Quantize | None,
        in_float: Collection[str],
        in_int8: Collection[str],
        calibration: Sequence[np.ndarray],
        directory: Path,
    ) -> dict[str, Any]:
        """Writes a model, which it may change, into a directory that holds config.json.

        `in_float` names linear layers that int8 leaves alone, `in_int8` those of a decoder in 4 bits that keep 8,
        `calibration` is pixels, float32 (1, 3, side, side) each. Returns what was quantized, for the manifest.
        """
        ...
