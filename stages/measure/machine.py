"""What this machine is, as far as it bears on times."""

import os
import platform
import re
from functools import cache
from importlib.metadata import version
from typing import Any

import cpuinfo
import psutil

from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes.cores import usable_cores


@cache
def _cpu() -> dict[str, Any]:
    return dict(cpuinfo.get_cpu_info())


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
        "usable_cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "operating_system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": library_versions("torch", "transformers", "onnxruntime", "openvino", "numpy", "pillow"),
    }


def name_machine(machine: dict[str, Any]) -> str:
    """A machine in few letters, of what host.json says: two words of the CPU's name, its family, model and stepping,
    its newest instruction set and how many of its cores are used."""
    words = re.sub(r"\((R|TM)\)", "", machine["cpu"], flags=re.IGNORECASE).split()[:2]
    family = machine["cpu_family_model_stepping"]
    newest = machine["instruction_sets"][-1:]
    return " ".join([*words, *([family] if "?" not in family else []), *newest, f"x{machine['usable_cores']}"])
