"""Counts the products that a checkpoint computes, from its own graphs: what is pruned away or shrunk is not counted.

Zeros within a matrix are: the kernels of all three engines multiply and read them as they do any other number. Each
runtime's are counted by the module of its name, which imports that runtime and no other.
"""

import importlib
from pathlib import Path
from typing import cast

from stages.captioner.checkpoint import read_manifest
from stages.timing.products.counter import Counter
from stages.timing.roofline import Part, Product


def count_products(checkpoint: Path, length: int) -> dict[Part, list[Product]]:
    """What one picture's encoding, its first token and the token of this number, 2 or more, take at batch 1."""
    counter = cast(Counter, importlib.import_module(f"{__name__}.{read_manifest(checkpoint).runtime}"))
    return counter.count(checkpoint, length)
