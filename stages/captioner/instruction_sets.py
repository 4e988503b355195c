"""The instruction sets of this CPU that decide which matrix kernels run, and with them speed and the last digits.

Linux says in /proc/cpuinfo what its CPU has and it lets programs use. In a service or a sandbox that file may be hidden
or lack the line, and other systems have none: then the CPU itself is asked. What nobody can tell stays unknown, and is
neither claimed to be there nor to be missing.
"""

import ctypes
import mmap
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

LINUX_CPU = Path("/proc/cpuinfo")
# From the oldest to the newest, under the names that Linux gives them.
X86 = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
ARM = ("asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16", "sve2", "sme")
# Those that add up products of 8 bits in 32, so that none overflows. Every 64-bit ARM has instructions for that.
INT8_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}

# Where the C library's getauxval tells what the kernel found on ARM: a word, and a bit of it.
# Source: Linux, arch/arm64/include/uapi/asm/hwcap.h.
AT_HWCAP, AT_HWCAP2 = 16, 26
HARDWARE_CAPABILITIES = {
    "asimd": (AT_HWCAP, 1),
    "asimdhp": (AT_HWCAP, 10),
    "asimddp": (AT_HWCAP, 20),
    "sve": (AT_HWCAP, 22),
    "sve2": (AT_HWCAP2, 1),
    "i8mm": (AT_HWCAP2, 13),
    "bf16": (AT_HWCAP2, 14),
    "sme": (AT_HWCAP2, 23),
}
# What numpy calls those that it asks the CPU for, in code of its own and not in memory that must be executable.
IN_NUMPY = {
    "avx2": "AVX2",
    "avx512f": "AVX512F",
    "avx512bw": "AVX512BW",
    "avx512_vnni": "AVX512VNNI",
    "avx512_bf16": "AVX512BF16",
    "asimd": "ASIMD",
    "asimdhp": "ASIMDHP",
    "asimddp": "ASIMDDP",
    "sve": "SVE",
}


def instruction_sets() -> list[str]:
    """Those that this CPU is known to have and matrix kernels are chosen by, the oldest first."""
    return [name for name, present in known_instruction_sets().items() if present]


@cache
def known_instruction_sets() -> Mapping[str, bool]:
    """Whether this CPU has each that matrix kernels are chosen by, the oldest first. What is not known is absent."""
    own, foreign = (ARM, X86) if is_arm() else (X86, ARM)
    for answer in (_of_linux, _of_cpuid, _of_the_c_library, _of_apple, _of_numpy):
        if found := answer():
            return {name: found[name] for name in own if name in found} | dict.fromkeys(foreign, False)
    return {}


def is_arm() -> bool:
    """Whether this is a 64-bit ARM."""
    return platform.machine().lower() in ("aarch64", "arm64")


def overflows(weight_bits: int | None) -> bool | None:
    """Whether sums of products of int8 activations with weights of so many bits overflow on this CPU; None if nobody
    can tell."""
    if weight_bits != 8 or not INT8_DOT_PRODUCTS.isdisjoint(instruction_sets()):
        return False
    return True if known_instruction_sets().keys() >= INT8_DOT_PRODUCTS else None


def _of_linux() -> dict[str, bool]:
    try:
        lines = LINUX_CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    told = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    flags = {flag for line in told for flag in line.split()}
    return _judge(flags)


def _of_cpuid() -> dict[str, bool]:
    """Of an x86, by its own instruction. Where memory that was written can't be executed, it can't be asked."""
    if is_arm() or not may_execute_what_it_wrote():
        return {}
    from archspec.cpu.detect import CpuidInfoCollector

    found = _judge(_first_answer(lambda: set(CpuidInfoCollector().features)))
    # The CPU doesn't tell whether the system saves its wide registers, without which they are of no use; numpy asks.
    by_numpy = _of_numpy()
    saved = {name: by_numpy.get("avx512f" if "512" in name or "amx" in name else "avx2", True) for name in found}
    return {name: present and saved[name] for name, present in found.items()}


def may_execute_what_it_wrote() -> bool:
    """Looked at beforehand, as archspec would print a traceback."""
    if sys.platform == "win32":
        return True
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def _of_the_c_library() -> dict[str, bool]:
    if sys.platform != "linux" or not is_arm():
        return {}
    getauxval = getattr(ctypes.CDLL(None), "getauxval", None)
    if getauxval is None:
        return {}
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return {name: bool(getauxval(word) >> bit & 1) for name, (word, bit) in HARDWARE_CAPABILITIES.items()}


def _of_apple() -> dict[str, bool]:
    if sys.platform != "darwin":
        return {}
    import archspec.cpu

    return _judge(_first_answer(lambda: set(archspec.cpu.host().features)))


def _of_numpy() -> dict[str, bool]:
    """What numpy chooses its own kernels by, which is not all."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return {}
    return {name: features[theirs] for name, theirs in IN_NUMPY.items() if theirs in features}


def _first_answer(ask: Callable[[], set[str]]) -> set[str]:
    """What archspec finds out, or nothing where it fails, by whatever the system refuses."""
    try:
        return ask()
    except Exception:
        return set()


def _judge(flags: set[str]) -> dict[str, bool]:
    """Of a source that knows all names, those that it gives; nothing of one that lacks what every such CPU has, as
    where an emulator shows the file of the machine that it runs on."""
    return {name: name in flags for name in (*X86, *ARM)} if ("asimd" if is_arm() else "sse2") in flags else {}
