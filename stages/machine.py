"""What this machine is, as far as it bears on times and on the results of int8 arithmetic."""

import os
import platform
from functools import cache
from importlib.metadata import version
from typing import Any

import cpuinfo
import psutil

# The extensions that decide which matrix kernels run, from the oldest to the newest.
RELEVANT_INSTRUCTION_SETS = (
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


@cache
def _cpu() -> dict[str, Any]:
    return dict(cpuinfo.get_cpu_info())


def instruction_sets() -> list[str]:
    """Those of this CPU's instruction sets that matrix kernels are chosen by."""
    flags = set(_cpu().get("flags", ()))
    return [name for name in RELEVANT_INSTRUCTION_SETS if name in flags]


def library_versions(*names: str) -> dict[str, str]:
    """The installed versions of Python packages."""
    return {name: version(name) for name in names}


def describe_machine() -> dict[str, Any]:
    """CPU, memory, operating system and library versions: whatever makes a timing another timing."""
    cpu = _cpu()
    return {
        "cpu": cpu.get("brand_raw") or cpu.get("arch", "unknown"),
        "cpu_family_model_stepping": "/".join(str(cpu.get(key, "?")) for key in ("family", "model", "stepping")),
        "instruction_sets": instruction_sets(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "operating_system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": library_versions("torch", "transformers", "numpy", "pillow"),
    }
