import pytest

from stages.captioner.runtimes.openvino_precision import choose_group, usable_instruction_sets

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
