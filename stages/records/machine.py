"""What this machine is, as far as it bears on times."""

import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import archspec.cpu
from archspec.cpu.detect import CpuidInfoCollector

from stages.captioner.instruction_sets import (
    ARM,
    LINUX_CPU,
    X86,
    instruction_sets,
    is_arm,
    known_instruction_sets,
    may_execute_what_it_wrote,
)
from stages.captioner.runtimes.cores import CPUS, count_cores, usable_cores

# Variables by which people keep PyTorch, oneDNN, MKL and OpenVINO from instruction sets. ONNX Runtime knows none.
CAPS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "OV_CPU_MAX_ISA",
)
CAP = re.compile(r"(?!all$)[a-z0-9_]{1,30}")
UNKNOWN, NO_IDENTITY = "unknown", "?/?/?"


def library_versions(*names: str) -> dict[str, str]:
    """The installed versions of Python packages."""
    return {name: version(name) for name in names}


def describe_machine() -> dict[str, Any]:
    """CPU, memory, operating system and library versions: whatever makes a timing another timing.

    A CPU's family, model and stepping are, of an ARM, its implementer, part and revision. `caps` are there only where
    the environment sets some: what is timed under them is not what the CPU can do.
    """
    name, identity = identify_cpu(LINUX_CPU)
    caps = caps_of(os.environ)
    return {
        "cpu": name,
        "cpu_family_model_stepping": identity,
        "instruction_sets": _known_to_be_there(),
        "cores": count_cores(set(range(os.cpu_count() or 1)), CPUS),
        "threads": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "operating_system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": library_versions("torch", "transformers", "onnxruntime", "openvino", "numpy", "pillow"),
        **({"caps": caps} if caps else {}),
    }


def caps_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep engines from instruction sets, and up to which they may go, in small letters."""
    values = {name: environment.get(name, "").lower() for name in CAPS}
    return {name: value for name, value in values.items() if CAP.fullmatch(value)}


def _known_to_be_there() -> list[str]:
    """This CPU's instruction sets, and after them `unknown` if it may have others."""
    known = known_instruction_sets()
    return [*instruction_sets(), *([] if known.keys() >= {*X86, *ARM} else [UNKNOWN])]


def identify_cpu(cpuinfo: Path) -> tuple[str, str]:
    """The CPU's name, and the numbers that tell its kind from others: by Linux's file, by itself where that is hidden
    or lacks them, or else unknown."""
    fields = _first_processor(cpuinfo)
    if "cpu family" in fields:
        numbers = (fields.get(key, "?") for key in ("cpu family", "model", "stepping"))
        return fields.get("model name", UNKNOWN), "/".join(numbers)
    if "CPU part" in fields:
        part = fields["CPU part"]
        return _name_of_arm(part), "/".join((fields.get("CPU implementer", "?"), part, fields.get("CPU revision", "?")))
    if is_arm() or not may_execute_what_it_wrote():
        return (platform.system() == "Darwin" and archspec.cpu.brand_string()) or UNKNOWN, NO_IDENTITY
    return _ask_x86()


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    parts = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in parts}


def _name_of_arm(part: str) -> str:
    """Linux calls all of them ARMv8: by the number of the part."""
    named = [f"{own.vendor} {name}" for name, own in archspec.cpu.TARGETS.items() if own.cpu_part == part]
    return min(named, key=len, default=f"ARM CPU {part}")


@cache
def _ask_x86() -> tuple[str, str]:
    """Source: Intel, Software Developer's Manual, volume 2, CPUID: version information."""
    asked = CpuidInfoCollector()
    word = asked.cpuid.registers_for(eax=1, ecx=0).eax
    family, model, stepping = word >> 8 & 0xF, word >> 4 & 0xF, word & 0xF
    if family in (6, 15):
        model += (word >> 16 & 0xF) << 4
    if family == 15:
        family += word >> 20 & 0xFF
    return (asked.brand_string() or UNKNOWN).strip(" \0"), f"{family}/{model}/{stepping}"


def name_machine(machine: dict[str, Any]) -> str:
    """A machine in few letters, of what host.json says: two words of the CPU's name, its family, model and stepping,
    its newest instruction set, how many of its cores are used, and what caps are set on its instruction sets."""
    words = re.sub(r"\((R|TM)\)", "", machine["cpu"], flags=re.IGNORECASE).split()[:2]
    family = machine["cpu_family_model_stepping"]
    newest = machine["instruction_sets"][-1:]
    name = " ".join([*words, *([family] if "?" not in family else []), *newest, f"x{machine['usable_cores']}"])
    caps = [f"{variable.partition('_')[0].lower()} {cap}" for variable, cap in machine.get("caps", {}).items()]
    return f"{name} capped: {', '.join(caps)}" if caps else name


def in_file_names(machine: str) -> str:
    """What `name_machine` calls a machine, in small letters, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_]+", "-", machine.lower()).strip("-")
