"""Whether what a checkpoint computes is finite: inf and NaN give captions, too, and times."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..command_line import InputError
from .captioner import Parts


def check_captioner(parts: Parts, images: Sequence[Image.Image], where: object) -> None:
    """Raises InputError if what an open checkpoint computes for pictures, up to the first word, is not finite."""
    check_logits(parts.next_token_logits(parts.encode(parts.preprocess(images)), [[]] * len(images)), where)


def check_logits(logits: Sequence[np.ndarray], where: object) -> None:
    """Raises InputError if logits, as `next_token_logits` gives them, are not finite."""
    if not all(np.isfinite(rows).all() for rows in logits):
        raise InputError(
            f"{where} computes inf or NaN, so neither its captions nor any figures of them mean anything: choose "
            "another model, or another recipe if it is a variant that does so"
        )
