"""Nothing that this project reads is ever unpickled, but a Hub's own weights, by what refuses all but tensors."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT

SOURCES = sorted((PROJECT / "stages").rglob("*.py"))
# Modules that unpickle, or are made to run what a file holds.
UNPICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "_pickle"}
# Functions that may unpickle, or take code from a file or a Hub, and what has to be said so that they don't.
CALLS = {
    "torch.load": {"weights_only": True},
    "np.load": {"allow_pickle": False},
    "numpy.load": {"allow_pickle": False},
    "pd.read_pickle": None,
    "pandas.read_pickle": None,
    "torch.jit.load": None,
    "torch.hub.load": None,
    "BlipForConditionalGeneration.from_pretrained": {"weights_only": True},
}
NAMES = {"eval", "exec", "compile"}


def complaints(source: str) -> list[str]:
    """Where a module could unpickle, or run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {name}" for name in modules if name.split(".")[0] in UNPICKLING]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            said = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            needed = CALLS.get(called, {})
            if called in NAMES or needed is None or not needed.items() <= said.items():
                found.append(f"line {node.lineno} calls {called}")
            if said.get("trust_remote_code") or called.endswith((".read_pickle", ".to_pickle")):
                found.append(f"line {node.lineno} trusts what it reads")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=[file.relative_to(PROJECT).as_posix() for file in SOURCES])
def test_no_module_unpickles(file: Path) -> None:
    assert complaints(file.read_text(encoding="utf-8")) == []


def test_only_a_hub_s_weights_are_loaded_as_pickles_may_be() -> None:
    callers = [file for file in SOURCES if "weights_only" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(PROJECT).as_posix() for file in callers] == ["stages/sources/model.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "np.load('x', allow_pickle=True)",
        "BlipForConditionalGeneration.from_pretrained('x')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "pd.read_pickle('x')",
        "eval('x')",
    ],
)
def test_a_module_that_would_is_found(source: str) -> None:
    assert complaints(source)
    assert complaints("torch.load('x', weights_only=True)") == []
