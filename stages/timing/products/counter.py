"""What each runtime's module has, and what an operator with operands of some shapes computes."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Protocol

from stages.timing.roofline import Part, Precision, Product


class Counter(Protocol):
    """A module of this package."""

    def count(self, checkpoint: Path, length: int) -> dict[Part, list[Product]]:
        """See `count_products`."""


def product(
    kind: str, left: Sequence[int], right: Sequence[int], result: Sequence[int], precision: Precision, size: int
) -> Product:
    """Of an operator whose operands have these shapes, and the right one's numbers so many bytes."""
    if "Attention" in kind:  # queries (…, length, width) with keys, and as many with values of the same shape
        return Product(2 * prod(left) * right[-2], precision, 2 * prod(right) * size)
    inner = prod(right[1:]) if kind.startswith("Conv") else left[-1]
    return Product(prod(result) * inner, precision, prod(right) * size)
