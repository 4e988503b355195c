"""Checkpoints for engines of weights that are next to nothing, and on a disk that is full."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import BlipForConditionalGeneration

from stages.optimize import optimize
from tests.conftest import PROJECT, RECIPES, with_weights
from tests.test_optimize import FC1, all_scaled, assert_finite, scaled


@pytest.mark.parametrize(
    ("name", "change"), [("onnx_int8", scaled(f"{FC1}.weight", 1e-42)), ("openvino_int8", all_scaled(0))]
)
def test_weights_of_nothing_or_almost_nothing_give_finite_records(
    baseline: Path, tmp_path: Path, calibration: Path, name: str, change: Callable[[BlipForConditionalGeneration], None]
) -> None:
    source = with_weights(baseline, tmp_path / "baseline", change)
    optimize(source, RECIPES[name], calibration, tmp_path / "variant")
    assert_finite(tmp_path / "variant")


@pytest.mark.parametrize("recipe", ["quantized", "onnx_int8", "openvino", "openvino_int8"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    recipe: str, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    program = """
import sys
from pathlib import Path
from stages.captioner.command_line import ending_in_one_sentence
from stages.optimize import optimize
from tests.conftest import RECIPES
recipe, baseline, calibration, output = sys.argv[1:]
with ending_in_one_sentence():
    optimize(Path(baseline), RECIPES[recipe], Path(calibration), Path(output))
"""
    # A limit on files stands for the disk, which no test may fill; in blocks of 512 or 1024 bytes. Under it, Python
    # would cut off what it keeps of modules (-B: it keeps none), and later tests could not import them.
    limited = ["sh", "-c", 'ulimit -f 32; exec "$0" -B -c "$@"', sys.executable, program]
    process = subprocess.run(
        [*limited, recipe, str(baseline), str(calibration), str(tmp_path / "out")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("error: the disk is full")
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.iterdir())
