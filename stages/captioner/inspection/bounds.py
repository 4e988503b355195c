"""Sizes far above what any BLIP needs, so that what somebody else wrote can take neither all memory nor all day."""

import math
from collections.abc import Collection

LARGEST_GRAPH = 8 * 1024**2  # bytes of a graph without its weights; those of BLIP-base have up to 0.8 MB
LARGEST_HEADER = 16 * 1024**2  # bytes
LARGEST_JSON = 16 * 1024**2  # bytes; the tokenizer of BERT has 0.7 MB
MOST_OPERATORS = 10_000  # with constants, BLIP-base has up to 1800, and BLIP-large twice as many
MOST_TENSORS = 100_000
MOST_SIDES = 8
MOST_ELEMENTS = 2**31


def check_elements(sides: Collection[int]) -> None:
    """Raises ValueError if a shape with these known sides, all of them at least 0, is absurd."""
    if len(sides) > MOST_SIDES or math.prod(max(side, 1) for side in sides) > MOST_ELEMENTS:
        raise ValueError(f"a shape has more than {MOST_ELEMENTS} elements, or more than {MOST_SIDES} sides")
