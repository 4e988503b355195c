"""What dvc.yaml declares, held against what the stages import; tests/long/test_pipeline.py runs it."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from pathspec import GitIgnoreSpec

from tests.conftest import PROJECT


def without_types(tree: ast.Module) -> ast.Module:
    """A module as it runs, without what it imports for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return tree


def local_imports(module: str) -> set[str]:
    """The files of `stages/` that a module imports, directly or through others, and itself."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        base = PROJECT / Path(*name.split("."))
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        path = file.relative_to(PROJECT).as_posix()
        if not file.is_file() or path in found:
            continue
        found.add(path)
        waiting.append(name.rpartition(".")[0] or "stages")
        for node in ast.walk(without_types(ast.parse(file.read_text(encoding="utf-8")))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith("stages")]
            elif isinstance(node, ast.ImportFrom):
                package = file.relative_to(PROJECT).parts[: -node.level] if node.level else ()
                source = ".".join([*package, *filter(None, [node.module])])
                if source.startswith("stages"):
                    waiting += [source, *(f"{source}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
                chosen = ast.unparse(node.args[0])[2:]  # f"stages.export.{…}", or f".{…}" of the package it is in
                package = chosen.partition(".{")[0]
                folder = PROJECT / Path(*package.split(".")) if package else file.parent
                waiting += [".".join(each.relative_to(PROJECT).with_suffix("").parts) for each in folder.glob("*.py")]
            elif isinstance(node, ast.Constant) and node.value == "stages.timing.worker":
                waiting.append(str(node.value))
    return {path for path in found if (PROJECT / path).read_text(encoding="utf-8").strip()}


STAGES: dict[str, Any] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].items()
}


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_exactly_what_a_stage_imports(name: str) -> None:
    stage = STAGES[name]
    python, folder, module, *_ = stage["cmd"].split()
    assert (python, folder) == ("python", "stages")
    imported = local_imports(f"stages.{module}") | {"stages/__main__.py"}
    templates = (".css", ".jinja", ".js")
    declared = [own for own in stage["deps"] if f"{own}/".startswith("stages/") and not own.endswith(templates)]
    uncovered = {path for path in imported if not any(path == own or path.startswith(f"{own}/") for own in declared)}
    assert not uncovered, f"{name} imports what it does not declare"
    unused = {own for own in declared if not any(path == own or path.startswith(f"{own}/") for path in imported)}
    assert not unused, f"{name} declares what it does not import"
    if declared != ["stages"]:
        hidden = GitIgnoreSpec.from_lines((PROJECT / ".dvcignore").read_text().splitlines())
        assert not [path for path in imported if hidden.match_file(path)], f"{name} imports what DVC does not look at"


def test_pages_commands_and_prose_make_nothing_anew_that_took_long() -> None:
    """What is changed often, and what none of the figures hang on."""
    dear = ("train_demo", "download", "dataset", "optimize", "evaluate", "evaluate_baseline", "benchmark", "final")
    declared = {own for name in dear for own in STAGES[name]["deps"]}
    assert not [own for own in declared if own == "stages" or own.startswith(("stages/page", "stages/choice"))]
    hidden = GitIgnoreSpec.from_lines((PROJECT / ".dvcignore").read_text().splitlines())
    assert all(hidden.match_file(f"stages/{name}") for name in ("captioner/commands/verify.py", "README.md"))


def test_dvc_yaml_is_read_by_people() -> None:
    assert len((PROJECT / "dvc.yaml").read_text().splitlines()) <= 220


def test_timings_can_not_come_back_from_a_cache() -> None:
    for name in ("host", "peaks", "benchmark_baseline", "benchmark", "final"):
        for output in STAGES[name]["outs"]:
            assert next(iter(output.values()))["cache"] is False
        assert "metrics" not in STAGES[name]
