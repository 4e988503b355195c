"""The instruction sets of this CPU that decide which matrix kernels run, and with them speed and the last digits."""

from functools import cache
from pathlib import Path

LINUX_CPU = Path("/proc/cpuinfo")
# From the oldest to the newest, under the names that Linux gives them.
RELEVANT = (
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)

# Those that add up products of 8 bits in 32, so that none overflows.
INT8_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}


@cache
def instruction_sets() -> list[str]:
    """Those of this CPU's instruction sets that matrix kernels are chosen by."""
    flags = _linux_flags() if LINUX_CPU.is_file() else _flags_elsewhere()
    return [name for name in RELEVANT if name in flags]


def _linux_flags() -> set[str]:
    lines = LINUX_CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}


def _flags_elsewhere() -> set[str]:
    import cpuinfo  # takes a second, which opening a checkpoint on Linux need not wait for

    return set(cpuinfo.get_cpu_info().get("flags", ()))


def overflows(weight_bits: int | None) -> bool:
    """Whether sums of products of int8 activations with weights of so many bits overflow on this CPU."""
    return weight_bits == 8 and INT8_DOT_PRODUCTS.isdisjoint(instruction_sets())
