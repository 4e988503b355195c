"""The shortest time that this machine could take for each part of a caption: its peaks against the part's products.

Source: S. Williams et al., Roofline: An Insightful Visual Performance Model, Communications of the ACM, 2009.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Literal, NamedTuple

Precision = Literal["int8", "bfloat16", "float16", "float32"]
Part = Literal["encode", "prefill", "token"]
READ_MB = (1, 4, 64, 256)  # of what cores' own caches hold, of what shared ones may hold, of what lies in memory


class Product(NamedTuple):
    """A product of matrices, or the two of an attention."""

    macs: int  # multiplications, each with its addition
    precision: Precision  # of the numbers that the kernel multiplies
    read: int  # bytes of weights and, in the decoder, of keys and values


class Peaks(NamedTuple):
    """Matrix products in 10^9 operations a second by precision, and reading in GB/s by the MB that are read again and
    again."""

    gops: dict[Precision, float]
    read_gb_per_s: dict[str, float]

    def bandwidth(self, size: float) -> float:
        """Bytes per second at which so many bytes are read: at least as fast as they can be, so no time is too long.

        More bytes are never read faster, so where they were, the fewer were read in a slow moment.
        """
        measured = sorted(map(int, self.read_gb_per_s))
        smaller = [megabytes for megabytes in measured if megabytes << 20 <= size]
        largest = smaller[-1] if smaller else measured[0]
        return max(self.read_gb_per_s[str(megabytes)] for megabytes in measured if megabytes >= largest) * 1e9


def shortest_seconds(products: Sequence[Product], peaks: Peaks) -> float:
    """The least time for a part: until all is computed and all is read. NaN if a precision has no peak here."""
    computed = sum(2 * product.macs / peaks.gops.get(product.precision, nan) / 1e9 for product in products)
    read = sum(product.read for product in products)
    return nan if isnan(computed) else max(computed, read / peaks.bandwidth(read))


def compare_with_limits(
    figures: Mapping[str, float | int | str], products: Mapping[Part, Sequence[Product]], peaks: Peaks, new_tokens: int
) -> dict[str, float]:
    """Each part's multiply-adds, the MB that it reads, its shortest time, and that as a share of the measured one; the
    last two of a caption of so many tokens, too, as `roofline`.

    A share is absent where the measured time is, and where it would be above 1: then the machine was slower while its
    peaks were taken.
    """
    runs: dict[Part, int] = {"encode": 1, "prefill": 1, "token": new_tokens - 1}
    limits = {part: shortest_seconds(own, peaks) * 1e3 for part, own in products.items()}
    times = {part: float(figures.get(f"{part}_ms", nan)) for part in runs}
    compared: dict[str, float] = {}
    for part, own in products.items():
        compared[f"{part}_macs"] = sum(product.macs for product in own)
        compared[f"{part}_mb"] = sum(product.read for product in own) / 1e6
        compared |= {f"{part}_limit_ms": limits[part], f"{part}_share": _share(limits[part], times[part])}
    limit, measured = (sum(runs[part] * some[part] for part in runs) for some in (limits, times))
    compared |= {"roofline_ms": limit, "roofline_share": _share(limit, measured)}
    return {name: round(number, 4) for name, number in compared.items() if not isnan(number)}


def _share(limit: float, measured: float) -> float:
    return limit / measured if limit <= measured else nan
