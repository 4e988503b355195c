import pytest

from stages.captioner.runtimes.openvino_api import Type
from stages.captioner.runtimes.openvino_precision import (
    choose_group,
    describe_arithmetic,
    half_precision,
    usable_instruction_sets,
)

ZEN_3, ZEN_4 = ["avx2"], ["avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"]


@pytest.mark.parametrize(
    ("sets", "group"), [(ZEN_3, 0), (ZEN_4, 0), ([*ZEN_4, "avx_vnni"], 128), (["avx2", "avx_vnni"], 0), ([], 0)]
)
def test_activations_are_quantized_where_that_was_measured_to_be_faster(sets: list[str], group: int) -> None:
    assert choose_group("auto", sets) == group


@pytest.mark.parametrize("group", [0, 32, 128])
def test_a_group_that_a_recipe_names_is_taken_everywhere(group: int) -> None:
    for sets in (ZEN_3, [*ZEN_4, "avx_vnni"]):
        assert choose_group(group, sets) == group


@pytest.mark.parametrize(
    ("environment", "usable"),
    [
        ({}, [*ZEN_4, "avx_vnni"]),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "OV_CPU_MAX_ISA": ""}, [*ZEN_4, "avx_vnni"]),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, ZEN_3),
        ({"OV_CPU_MAX_ISA": "avx2"}, ZEN_3),
        ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, []),
        ({"DNNL_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, ZEN_4[:-1]),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "OV_CPU_MAX_ISA": "AVX2_VNNI"}, ["avx2"]),
    ],
)
def test_what_either_cap_forbids_is_not_usable(environment: dict[str, str], usable: list[str]) -> None:
    assert usable_instruction_sets([*ZEN_4, "avx_vnni"], environment) == set(usable)


RASPBERRY_PI_4, RASPBERRY_PI_5 = ["asimd"], ["asimd", "asimdhp", "asimddp"]
GRAVITON_3 = [*RASPBERRY_PI_5, "sve", "i8mm", "bf16"]


@pytest.mark.parametrize(
    ("sets", "half"),
    [
        (ZEN_3, Type.f32),
        (ZEN_4, Type.bf16),
        (RASPBERRY_PI_4, Type.f32),
        (RASPBERRY_PI_5, Type.f16),
        (GRAVITON_3, Type.f16),
        ([], Type.f32),
    ],
)
def test_half_precision_is_bfloat16_on_x86_and_float16_on_arm(sets: list[str], half: Type) -> None:
    assert half_precision(sets) == half


def test_caps_of_x86_forbid_nothing_on_arm() -> None:
    assert usable_instruction_sets(GRAVITON_3, {"ONEDNN_MAX_CPU_ISA": "AVX2"}) == set(GRAVITON_3)


def test_what_captions_can_differ_by_is_told_by_numbers_not_by_names() -> None:
    quantized = {"dynamic_quantization_group": "auto"}
    assert describe_arithmetic(None, ZEN_3) == describe_arithmetic(None, GRAVITON_3)
    assert describe_arithmetic(quantized, ZEN_3) == describe_arithmetic(quantized, RASPBERRY_PI_4)
    assert describe_arithmetic(quantized, ZEN_4) != describe_arithmetic(quantized, ZEN_3)
    assert describe_arithmetic(quantized, ZEN_4) != describe_arithmetic(quantized, [*ZEN_4, "avx_vnni"])
    assert describe_arithmetic(quantized, ZEN_4) != describe_arithmetic(quantized, GRAVITON_3)
