"""The commands that verify, sign and make keys, as a person runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.captioner.checkpoint import SIGNATURE
from tests.conftest import PROJECT, Build, assert_one_sentence


def run(command: str, *arguments: object, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """A command without a terminal, as passwords would otherwise be asked there."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.captioner.commands.{command}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        start_new_session=True,
    )


def test_a_checkpoint_is_signed_and_verified(baseline: Path, tmp_path: Path) -> None:
    checkpoint, key = Path(shutil.copytree(baseline, tmp_path / "copy")), tmp_path / "me.key"
    assert run("new_key", key, typed="secret\nsecret\n").stdout == f"{key}.pub\n"
    assert_one_sentence(run("sign", checkpoint, "--key", key, typed="wrong\n"), "wrong password")
    assert not (checkpoint / SIGNATURE).exists()
    assert_one_sentence(run("verify", checkpoint, "--key", f"{key}.pub"), "is not signed")
    assert run("sign", checkpoint, "--key", key, typed="secret\n").stdout == f"{checkpoint / SIGNATURE}\n"
    process = run("verify", checkpoint, "--key", f"{key}.pub")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{checkpoint}: whole, signed by the owner of {key}.pub (timestamp:")


def test_without_a_key_only_the_files_are_checked(baseline: Path, tmp_path: Path) -> None:
    assert run("verify", baseline).stdout == f"{baseline}: whole\n"
    assert_one_sentence(run("verify", tmp_path / "absent"), "there is no checkpoint")


@pytest.mark.parametrize("module", ["openvino", "onnxruntime", "torch", "transformers", "tokenizers"])
def test_verifying_imports_nothing_that_could_run_a_checkpoint(module: str) -> None:
    code = "import sys, stages.captioner.commands.verify, stages.captioner.inspection.onnx_graph;"
    code += f"print({module!r} in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert process.stdout == "False\n"


@pytest.mark.parametrize(
    ("absent", "name", "options", "extra"),
    [
        ("minisign", "openvino_int8", ("--key", "me.pub"), "signing"),
        ("google.protobuf.descriptor_pb2", "onnx_int8", (), "onnxruntime"),
    ],
)
def test_without_a_library_it_says_what_to_install(
    absent: str, name: str, options: tuple[str, ...], extra: str, build: Build
) -> None:
    code = (
        f"import sys; sys.modules[{absent!r}] = None; from stages.captioner.commands.verify import command; command()"
    )
    command = [sys.executable, "-c", code, str(build(name)), *options]
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert_one_sentence(process, f"install blip-on-cpu with its extra [{extra}]")
