"""The command where the system gives a process little: threads, memory, the right to make code, docstrings."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.captioner.runtimes.cgroups import CGROUPS
from stages.captioner.runtimes.failures import remedy
from tests.captioner.runtimes.test_captioner import RUNTIMES
from tests.conftest import PROJECT, Build, assert_one_sentence
from tests.hidden_proc import HIDING, needs_namespaces

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")


def caption(
    checkpoint: Path, picture: Path, *options: str, before: tuple[str, ...] = (), python: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """The command on one picture, started by what comes before it."""
    module = () if python and python[-1].endswith(".py") else ("-m", "stages.caption")
    return subprocess.run(
        [*before, sys.executable, *python, *module, "--checkpoint", str(checkpoint), *options, str(picture)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )


def limit(**limits: int) -> tuple[str, ...]:
    """What starts a command under limits, of threads for a user of its own: root has no limit, and others run some."""
    if "nproc" not in limits:
        user: list[str] = []
    elif os.getuid() == 0:
        # Who reads root's files, also where a program asks first whether it may.
        capable = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
        user = ["setpriv", "--reuid", str(400_000 + os.getpid() % 100_000), "--clear-groups", *capable]
    else:
        user = ["unshare", "--user"]
    command = [*user, "prlimit", "--core=0", *(f"--{name}={value}" for name, value in limits.items())]
    if subprocess.run([*user, "true"] if user else ["prlimit"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody be another user for a while")
    return tuple(command)


needs_tools = pytest.mark.skipif(not shutil.which("prlimit"), reason="util-linux is not installed")


@needs_tools
@pytest.mark.parametrize("threads", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_limit_of_threads_is_named_or_enough(
    name: str, threads: int, build: Build, picture_files: list[Path]
) -> None:
    process = caption(build(name), picture_files[0], "--threads", "2", before=limit(nproc=threads))
    if process.returncode == 0:
        assert process.stdout.startswith(f"{picture_files[0]}: ")
    else:
        assert threads < 20
        assert_one_sentence(process, f"RLIMIT_NPROC of its user is {threads} (ulimit -u)", "raise", "threads")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """One whose processes and threads can be limited."""
    top = CGROUPS / "pids" if (CGROUPS / "pids").is_dir() else CGROUPS
    folder = top / f"captioner-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"this user makes no cgroups here: {error.strerror}")
    try:
        if not (folder / "pids.max").is_file():
            pytest.skip("cgroups made here don't limit processes")
        if subprocess.run([*within(folder, 4), "true"], capture_output=True).returncode != 0:
            pytest.skip("no process may be moved into a cgroup here")
        yield folder
    finally:
        folder.rmdir()


def within(cgroup: Path, most: int) -> tuple[str, ...]:
    """What starts a command in a cgroup that has so many processes and threads at most."""
    (cgroup / "pids.max").write_text(str(most))
    return ("sh", "-ec", f'echo $$ > {cgroup / "cgroup.procs"}; exec "$@"', "sh")


@pytest.mark.parametrize("threads", [2, 4, 8, 24])
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_cgroup_s_limit_is_named_or_enough(
    name: str, threads: int, build: Build, picture_files: list[Path], cgroup: Path
) -> None:
    process = caption(build(name), picture_files[0], "--threads", "2", before=within(cgroup, threads))
    if process.returncode == 0:
        assert process.stdout.startswith(f"{picture_files[0]}: ")
    else:
        assert threads < 24
        assert_one_sentence(process, f"pids.max of its cgroup is {threads}, of which", "raise", "threads")


@needs_namespaces
def test_a_cgroup_s_limit_that_is_hidden_is_said_to_be(build: Build, picture_files: list[Path], cgroup: Path) -> None:
    before = (*within(cgroup, 5), *HIDING["no /proc"])
    process = caption(build("openvino_int8"), picture_files[0], "--threads", "2", before=before)
    assert_one_sentence(process, "pids.max of its cgroup can't be read here", "raise")


@needs_tools
@pytest.mark.parametrize("threads", [1, 2])  # with one, not even the thread that ends a stage with its DVC starts
@pytest.mark.parametrize("stage", [("download",), ("optimize", "onnx_int8"), ("peaks",)])
def test_stages_name_the_limit_that_would_kill_them(stage: tuple[str, ...], threads: int, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    module, *arguments = stage
    process = subprocess.run(
        [*limit(nproc=threads), sys.executable, "-m", f"stages.{module}", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "DVC_STAGE": module},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert_one_sentence(process, f"RLIMIT_NPROC of its user is {threads} (ulimit -u)", "raise")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@needs_tools
def test_a_checkpoint_is_verified_where_there_are_no_more_threads(build: Build) -> None:
    command = [sys.executable, "-m", "stages.captioner.commands.verify", str(build("openvino_int8"))]
    for threads in (1, 2, 3):
        process = subprocess.run(
            [*limit(nproc=threads), *command], cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=300
        )
        assert process.returncode == 0, process.stderr


@needs_tools
def test_one_thread_is_enough_where_an_engine_starts_none(build: Build, picture_files: list[Path]) -> None:
    process = caption(build("onnx_int8"), picture_files[0], "--threads", "1", before=limit(nproc=1))
    assert process.returncode == 0, process.stderr


@needs_tools
@pytest.mark.parametrize("megabytes", [300, 500, 4000])
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_limit_of_address_space_is_named_or_enough(
    name: str, megabytes: int, build: Build, picture_files: list[Path]
) -> None:
    process = caption(build(name), picture_files[0], "--threads", "2", before=limit(**{"as": megabytes << 20}))
    if process.returncode != 0:
        assert megabytes < 4000
        assert_one_sentence(process, "(ulimit -v")
        assert "extra" not in process.stderr and "rebuild" not in process.stderr


@pytest.mark.parametrize("name", RUNTIMES)
def test_python_without_docstrings_captions_or_says_what_needs_them(
    name: str, build: Build, picture_files: list[Path]
) -> None:
    process = caption(build(name), picture_files[0], python=("-OO",))
    if name == "quantized":
        assert_one_sentence(process, "transformers reads docstrings", "run it without -OO")
    else:
        assert process.returncode == 0, process.stderr
        assert len(process.stdout.splitlines()) == 1 and process.stderr == ""


NO_NEW_CODE = """
import ctypes, runpy
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, what systemd's MemoryDenyWriteExecute asks for
    raise SystemExit(77)
runpy.run_module("stages.caption", run_name="__main__")
"""


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_process_that_may_not_make_code_hears_so_or_captions(
    name: str, build: Build, picture_files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "no_new_code.py").write_text(NO_NEW_CODE, encoding="utf-8")
    process = caption(build(name), picture_files[0], python=(str(tmp_path / "no_new_code.py"),))
    if process.returncode == 77:
        pytest.skip("this system denies no process the making of code")
    if process.returncode != 0:
        assert name != "onnx_int8"
        assert_one_sentence(process, "MemoryDenyWriteExecute=no in systemd", "onnxruntime")


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (MemoryError(), "free memory"),
        (RuntimeError("std::bad_alloc"), "free memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory"), "free memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "free memory"),
        (ImportError("libx.so: failed to map segment from shared object: Operation not permitted"), "noexec"),
        (RuntimeError("can't start new thread"), "threads"),
        (OSError(28, os.strerror(28)), "free some space"),
        (OSError(24, os.strerror(24)), "ulimit -n"),
        (RuntimeError("no such operator"), "rebuild it"),
    ],
)
def test_the_remedy_fits_what_was_said(error: BaseException, part: str) -> None:
    assert part in remedy(error, "rebuild it")
