import importlib
import inspect

import pytest

from stages.export.exporter import Exporter
from stages.optimize import LIBRARIES


@pytest.mark.parametrize("runtime", LIBRARIES)
def test_the_module_of_each_runtime_is_an_exporter(runtime: str) -> None:
    module = importlib.import_module(f"stages.export.{runtime}")
    asked = {name: part for name, part in vars(Exporter).items() if inspect.isfunction(part) and name[0] != "_"}
    assert asked.keys() >= {"bits", "product_of", "export"}
    for name, function in asked.items():
        _, *parameters = inspect.signature(function).parameters.values()
        assert list(inspect.signature(getattr(module, name)).parameters.values()) == parameters
    assert inspect.get_annotations(Exporter).items() <= inspect.get_annotations(module).items()
