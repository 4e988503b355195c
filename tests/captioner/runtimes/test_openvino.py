import pytest

from stages.captioner.runtimes.openvino import choose_group

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
