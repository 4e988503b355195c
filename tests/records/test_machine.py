"""What a machine is called."""

import json
import platform
import sys
from pathlib import Path

import pytest

from stages.captioner.instruction_sets import LINUX_CPU
from stages.records.machine import CAPS, describe_machine, identify_cpu, name_machine
from stages.records.provenance import differences, of_peaks
from stages.setup.params import read_params
from tests.conftest import PROJECT
from tests.hidden_proc import HIDING, needs_namespaces, run_hidden

PARAMS = read_params(PROJECT / "params.yaml")


@pytest.mark.parametrize(
    ("cpu", "family", "sets", "name"),
    [
        ("AMD EPYC", "25/1/1", ["avx2"], "AMD EPYC 25/1/1 avx2 x4"),
        ("Intel(R) Xeon(R) Platinum 8488C", "6/143/8", ["avx2", "amx_int8"], "Intel Xeon 6/143/8 amx_int8 x4"),
        ("Apple M2", "?/?/?", [], "Apple M2 x4"),
        ("ARM neoverse_v1", "0x41/0xd40/2", ["sve", "bf16"], "ARM neoverse_v1 0x41/0xd40/2 bf16 x4"),
        ("unknown", "?/?/?", ["unknown"], "unknown unknown x4"),
    ],
)
def test_a_machine_is_named_in_few_letters(cpu: str, family: str, sets: list[str], name: str) -> None:
    machine = {"cpu": cpu, "cpu_family_model_stepping": family, "instruction_sets": sets, "usable_cores": 4}
    assert name_machine(machine) == name


@pytest.mark.parametrize(
    ("environment", "caps", "name"),
    [
        ({}, {}, ""),
        ({"OV_CPU_MAX_ISA": "", "ONEDNN_MAX_CPU_ISA": "ALL", "OMP_NUM_THREADS": "1"}, {}, ""),
        ({"OV_CPU_MAX_ISA": "; rm -rf /"}, {}, ""),
        ({"OV_CPU_MAX_ISA": "AVX2"}, {"OV_CPU_MAX_ISA": "avx2"}, " capped: ov avx2"),
        (
            {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "OV_CPU_MAX_ISA": "AVX2"},
            {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "avx512_core", "OV_CPU_MAX_ISA": "avx2"},
            " capped: aten avx2, onednn avx512_core, ov avx2",
        ),
    ],
)
def test_a_capped_machine_is_another(
    environment: dict[str, str], caps: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in CAPS:
        monkeypatch.delenv(variable, raising=False)
    free = describe_machine()
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    own = describe_machine()
    assert own == free | ({"caps": caps} if caps else {})
    assert name_machine(own) == name_machine(free) + name
    assert bool(differences(of_peaks(PARAMS, own), of_peaks(PARAMS, free))) == bool(caps)


X86 = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nstepping\t: 1\n\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nCPU revision\t: 2\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name", "identity"),
    [
        (X86, "AMD EPYC", "25/1/1"),
        (ARM, "ARM neoverse_v1", "0x41/0xd40/2"),
        (ARM.replace("0xd40", "0x022"), "Apple m1", "0x41/0x022/2"),
        (ARM.replace("0xd40", "0xfff"), "ARM CPU 0xfff", "0x41/0xfff/2"),
    ],
)
def test_a_cpu_is_told_by_what_linux_says(tmp_path: Path, cpuinfo: str, name: str, identity: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert identify_cpu(tmp_path / "cpuinfo") == (name, identity)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only an x86 says by itself what it is")
def test_a_cpu_says_what_it_is_where_linux_does_not(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert identify_cpu(tmp_path / "absent") == identify_cpu(tmp_path / "empty") == identify_cpu(LINUX_CPU)


@needs_namespaces
@pytest.mark.parametrize("hiding", HIDING)
def test_a_machine_is_the_same_where_proc_is_hidden(hiding: str) -> None:
    # On all CPUs, as tests are pinned to one each, and who can't look elsewhere takes those that he may use for all.
    program = (
        "import json, os; os.sched_setaffinity(0, range(1024));"
        "from stages.records.machine import describe_machine; print(json.dumps(describe_machine()))"
    )
    shown, hidden = (run_hidden(before, [sys.executable, "-c", program], PROJECT) for before in ((), HIDING[hiding]))
    assert hidden.returncode == 0, hidden.stderr
    assert json.loads(hidden.stdout) == json.loads(shown.stdout)
