"""What a machine is called."""

import pytest

from stages.measure.machine import name_machine


@pytest.mark.parametrize(
    ("cpu", "family", "sets", "name"),
    [
        ("AMD EPYC", "25/1/1", ["avx2"], "AMD EPYC 25/1/1 avx2 x4"),
        ("Intel(R) Xeon(R) Platinum 8488C", "6/143/8", ["avx2", "amx_int8"], "Intel Xeon 6/143/8 amx_int8 x4"),
        ("Apple M2", "?/?/?", [], "Apple M2 x4"),
    ],
)
def test_a_machine_is_named_in_few_letters(cpu: str, family: str, sets: list[str], name: str) -> None:
    machine = {"cpu": cpu, "cpu_family_model_stepping": family, "instruction_sets": sets, "usable_cores": 4}
    assert name_machine(machine) == name
