"""In what precision OpenVINO computes a checkpoint, by the instruction sets that it may use."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from ..instruction_sets import ARM
from .openvino_api import Core, Type

# OpenVINO's kernels come from two libraries, and each looks at its own of these caps only: what one of them forbids
# must not be asked of the other.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OV_CPU_MAX_ISA")
ALLOWED: dict[str, set[str]] = {
    "SSE41": set(),
    "AVX": set(),
    "AVX2": {"avx2"},
    "AVX2_VNNI": {"avx2", "avx_vnni"},
    "AVX2_VNNI_2": {"avx2", "avx_vnni"},
    "AVX512_CORE": {"avx2", "avx512f", "avx512bw"},
    "AVX512_CORE_VNNI": {"avx2", "avx512f", "avx512bw", "avx512_vnni"},
    "AVX512_CORE_BF16": {"avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"},
}
BFLOAT16 = {"avx512_bf16", "amx_bf16"}
FLOAT16 = {"asimdhp"}
NAMES: dict[Type, Literal["float32", "bfloat16", "float16"]] = {
    Type.f32: "float32",
    Type.bf16: "bfloat16",
    Type.f16: "float16",
}


def usable_instruction_sets(sets: Collection[str], environment: Mapping[str, str]) -> set[str]:
    """Those of a CPU's instruction sets that no cap in the environment forbids. The caps are of x86 only."""
    caps = [environment.get(name, "").upper() for name in CAPS]
    return set(sets).intersection(*(ALLOWED[cap].union(ARM) for cap in caps if cap in ALLOWED))


def choose_precision(core: Core, *, quantized: bool, sets: Collection[str]) -> Type:
    """Half precision for quantized checkpoints, where OpenVINO has it and may use it; else float32."""
    half = half_precision(sets) if quantized else Type.f32
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return half if {Type.bf16: "BF16", Type.f16: "FP16"}.get(half) in offered else Type.f32


def half_precision(sets: Collection[str]) -> Type:
    """What OpenVINO computes fastest in with these instruction sets: bfloat16 on x86, float16 on ARM, else float32."""
    if not BFLOAT16.isdisjoint(sets):
        return Type.bf16
    return Type.f32 if FLOAT16.isdisjoint(sets) else Type.f16


def describe_arithmetic(quantized: Mapping[str, Any] | None, sets: Collection[str]) -> str:
    """In what numbers a checkpoint is computed with these instruction sets: where that differs, captions can."""
    if quantized is None:
        return NAMES[Type.f32]
    group = choose_group(quantized.get("dynamic_quantization_group", "auto"), sets)
    decoder = f"int8 in groups of {group}" if group else "float"
    return f"{NAMES[half_precision(sets)]} with the decoder's activations in {decoder}"


def choose_group(setting: int | str, sets: Collection[str]) -> int:
    """How many of the decoder's activations share a scale when they are quantized to int8 on the fly; 0 leaves them in
    float. `auto` is the fastest as measured at full size on CPUs with these instruction sets.
    """
    if isinstance(setting, int):
        return setting
    # Groups of 128 take 20 % less time a token on a Zen 5, which has both, and 30 % more on a Zen 4, which lacks the
    # latter. Without either, on a Zen 3, OpenVINO passes over the setting: logits are the same bit for bit.
    return 128 if {"avx512_vnni", "avx_vnni"} <= set(sets) else 0
