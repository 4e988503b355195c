"""What this CPU has, also where the system doesn't say, is shown another machine's or forbids to ask."""

import ctypes
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from stages.captioner import instruction_sets as module
from stages.captioner.instruction_sets import known_instruction_sets, overflows
from tests.conftest import PROJECT
from tests.hidden_proc import HIDING, needs_namespaces

X86 = platform.machine() == "x86_64"
ASK = (
    "import json; from stages.captioner.instruction_sets import known_instruction_sets;"
    "print(json.dumps(dict(known_instruction_sets())))"
)
NO_EXECUTABLE_MEMORY = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
assert library.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0
"""
ZEN_3 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2\nvmx flags\t: avx512f\n"
GRAVITON_3 = "processor\t: 0\nFeatures\t: fp asimd fphp asimdhp asimddp sve i8mm bf16\nCPU part\t: 0xd40\n"
RASPBERRY_PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"


def ask(program: str, *before: str) -> dict[str, bool]:
    process = subprocess.run(
        [*before, sys.executable, "-c", program], cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    answer: dict[str, bool] = json.loads(process.stdout)
    return answer


@pytest.fixture
def as_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Makes this process believe that it runs on such a machine, with such a /proc/cpuinfo."""

    def become(machine: str, cpuinfo: str) -> dict[str, bool]:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(module, "LINUX_CPU", tmp_path / "cpuinfo")
        (tmp_path / "cpuinfo").write_text(cpuinfo)
        known_instruction_sets.cache_clear()
        return dict(known_instruction_sets())

    yield become
    known_instruction_sets.cache_clear()


def have(known: dict[str, bool]) -> list[str]:
    return [name for name, present in known.items() if present]


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", ZEN_3, ["avx2"]),
        ("aarch64", GRAVITON_3, ["asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16"]),
        ("aarch64", RASPBERRY_PI_4, ["asimd"]),
    ],
)
def test_linux_says_what_its_cpu_has(as_machine, machine: str, cpuinfo: str, expected: list[str]) -> None:  # type: ignore[no-untyped-def]
    known = as_machine(machine, cpuinfo)
    assert have(known) == expected
    assert known.keys() == {*module.X86, *module.ARM}, "all is known"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "answer"),
    [("x86_64", ZEN_3, True), ("aarch64", RASPBERRY_PI_4, False), ("aarch64", GRAVITON_3, False)],
)
def test_products_of_8_bits_overflow_on_no_arm(as_machine, machine: str, cpuinfo: str, answer: bool) -> None:  # type: ignore[no-untyped-def]
    as_machine(machine, cpuinfo)
    assert (overflows(8), overflows(7), overflows(None)) == (answer, False, False)


def test_of_a_cpu_of_which_nothing_is_known_nobody_says_that_products_overflow(
    as_machine,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_of_numpy", dict)
    assert as_machine("riscv64", "processor: 0\nisa: rv64imafdc\n") == {}
    assert (overflows(8), overflows(7)) == (None, False)


def test_another_machine_s_file_as_emulators_show_it_is_not_taken(as_machine) -> None:  # type: ignore[no-untyped-def]
    """It names no instruction set that every CPU of this kind has."""
    known = as_machine(platform.machine(), GRAVITON_3 if X86 else ZEN_3)
    assert have(known) == have(ask(ASK))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what its CPU has in a file")
@pytest.mark.parametrize("hiding", HIDING)
@needs_namespaces
def test_where_proc_is_hidden_the_cpu_itself_is_asked(hiding: str) -> None:
    shown = ask(ASK)
    assert shown.keys() == {*module.X86, *module.ARM}
    assert ask(ASK, *HIDING[hiding]) == shown


@needs_namespaces
def test_where_the_cpu_can_not_be_asked_either_what_numpy_knows_is_told_and_the_rest_is_unknown() -> None:
    library = ctypes.CDLL(None)
    if not X86 or library.prctl(66, 0, 0, 0, 0) < 0:
        pytest.skip("this system can't refuse to make memory executable")
    shown = ask(ASK)
    known = ask(NO_EXECUTABLE_MEMORY + ASK, *HIDING["no /proc"])
    assert "avx2" in known and "avx_vnni" not in known, "numpy knows the one and not the other"
    assert known.items() <= shown.items()
