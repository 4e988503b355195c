"""Each pass alone in every runtime, and all of them with int8; tests/passes has all together in float."""

from pathlib import Path
from typing import Any

import pytest

from stages.optimize import optimize
from stages.setup.params import Recipe
from tests.passes.test_runtimes import (
    ALL,
    PASSES,
    test_every_runtime_computes_what_the_changed_model_does,  # noqa: F401  (tried with the recipes below)
)


@pytest.fixture(params=PASSES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return Recipe.model_validate(PASSES[request.param])


@pytest.mark.parametrize(
    ("runtime", "scheme"),
    [("openvino", "static-int8"), ("onnxruntime", "dynamic-int8"), ("pytorch", "dynamic-int8")],
)
@pytest.mark.parametrize("prune", [ALL["prune"], {"method": "l1_unstructured", "amount": 0.3}])
def test_all_passes_combine_with_int8(
    prune: dict[str, Any], runtime: str, scheme: str, baseline: Path, calibration: Path, tmp_path: Path
) -> None:
    int8 = {"prune": prune, "equalize": True, "runtime": runtime, "quantize": {"scheme": scheme, "float_below_db": 15}}
    passes = optimize(baseline, Recipe.model_validate({**ALL, **int8}), calibration, tmp_path / runtime).passes
    assert passes.keys() >= {*PASSES, "equalize", "quantize"}
