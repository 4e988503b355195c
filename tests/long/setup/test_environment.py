"""The stages run by DVC from elsewhere, by another Python than the project's, or by one that lacks something."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stages import environment
from tests.conftest import PROJECT
from tests.long.captioner.test_package import find_python
from tests.projects import copy_project
from tests.projects import environment as environment_of_tests
from tests.readmes import code_blocks

BOTH_WAYS = (["stages", "report"], ["-m", "stages.report"])
HELP = "Usage: python -m stages.report"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's code in a folder with a blank in its name."""
    folder = tmp_path / "a project"
    shutil.copytree(PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "params.yaml"):
        shutil.copy(PROJECT / name, folder)
    return folder


def run(project: Path, python: object, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", environment.STATE))}
    command = [str(python), *arguments]
    return subprocess.run(
        command, cwd=project, env=kept | variables, capture_output=True, encoding="utf-8", timeout=120
    )


def make_environment(folder: Path, *, libraries: bool, scripts: str = "bin") -> Path:
    """A virtual environment, without libraries or with those of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    if libraries:
        [site] = folder.glob("lib/python*/site-packages")
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    if scripts != "bin":
        (folder / "bin").rename(folder / scripts)
        (folder / scripts / "python").rename(folder / scripts / "python.exe")
    return folder / scripts


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without libraries, as a system has."""
    return make_environment(tmp_path / "bare", libraries=False) / "python"


def assert_a_sentence(process: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    assert process.returncode == 1 and process.stdout == ""
    [line] = process.stderr.splitlines()
    assert line.startswith("error: ") and all(part in line for part in parts), line


@pytest.mark.parametrize("arguments", BOTH_WAYS)
@pytest.mark.parametrize("scripts", ["bin", "Scripts"])
def test_a_python_without_the_libraries_leaves_it_to_the_projects_own(
    project: Path, bare: Path, arguments: list[str], scripts: str
) -> None:
    make_environment(project / ".venv", libraries=True, scripts=scripts)
    process = run(project, bare, *arguments, "--help")
    assert process.returncode == 0 and HELP in process.stdout, process.stderr
    [note] = process.stderr.splitlines()
    assert note.startswith("note: ") and "is missing in" in note and str(project / ".venv" / scripts) in note


@pytest.mark.parametrize("arguments", BOTH_WAYS)
def test_without_an_environment_of_the_project_a_sentence_says_what_to_do(
    project: Path, bare: Path, arguments: list[str]
) -> None:
    assert_a_sentence(run(project, bare, *arguments), "is missing in", "pip install -r requirements.txt")


@pytest.mark.parametrize("arguments", BOTH_WAYS)
@pytest.mark.parametrize("broken", [False, True])
def test_an_environment_that_lacks_them_too_ends_it(
    project: Path, bare: Path, arguments: list[str], broken: bool
) -> None:
    make_environment(project / ".venv", libraries=False)
    if broken:  # so that its Python is the system's
        (project / ".venv/pyvenv.cfg").unlink()
    process = run(project, bare, *arguments)
    assert process.returncode == 1
    note, error = process.stderr.splitlines()
    assert note.startswith("note: ") and error.startswith("error: ") and "is missing in" in error


def test_an_experiment_below_dvc_s_own_folder_has_the_environment_of_its_project(project: Path, bare: Path) -> None:
    make_environment(project / ".venv", libraries=True)
    apart = project / ".dvc/tmp/exps/tmpx"
    shutil.copytree(project / "stages", apart / "stages")
    shutil.copy(project / "requirements.txt", apart)
    assert HELP in run(apart, bare, "stages", "report", "--help").stdout


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("transformers", "4.57.1", False),
        ("transformers", "5.22.9", False),
        ("transformers", "6.0.0", False),
        ("transformers", "5.30.0.dev0", True),
        ("torch", "2.13.0+cpu", True),
        ("torch", "2.9.1+cpu", False),
        ("openvino", "2025.4.0-1234", False),
        ("pycocoevalcap", "1", False),
        ("numpy", "1.26.4", False),
    ],
)
def test_a_library_of_another_version_is_named(project: Path, name: str, version: str, fits: bool) -> None:
    """Which a folder that comes first says it is."""
    claimed = project / "claimed"
    (claimed / f"{name}-{version}.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (claimed / f"{name}-{version}.dist-info/METADATA").write_text(metadata)
    process = run(project, sys.executable, "stages", "report", "--help", PYTHONPATH=str(claimed))
    if fits:
        assert process.returncode == 0 and process.stderr == ""
    else:
        assert_a_sentence(process, f"has {name} {version} in place of", "pip install -r requirements.txt")


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9", "3.10"])
@pytest.mark.parametrize("own", [False, True])
def test_a_python_that_is_too_old_is_named_or_left(project: Path, version: str, own: bool) -> None:
    python = find_python(version, "sys")
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    if own:
        make_environment(project / ".venv", libraries=True)
    process = run(project, python, "stages", "report", "--help", PYTHONDONTWRITEBYTECODE="1")
    if own:
        assert process.returncode == 0 and HELP in process.stdout, process.stderr
        assert process.stderr.startswith(f"note: Python 3.11 or newer is needed, and {python} is {version}.")
    else:
        assert_a_sentence(process, f"Python 3.11 or newer is needed, and {python} is {version}.")
    by_hand = run(project, python, "-m", "stages.report", PYTHONDONTWRITEBYTECODE="1")
    assert "Python 3.11 or newer is needed" in by_hand.stderr and "Traceback" not in by_hand.stderr


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py", "setup/__init__.py", "setup/environment.py"])
def test_what_any_python_parses_is_plain(name: str) -> None:
    """Also where there is no old Python to try it with."""
    source = (PROJECT / "stages" / name).read_text(encoding="utf-8")
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Match)
    assert source.isascii() and not [node for node in ast.walk(ast.parse(source)) if isinstance(node, newer)]
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert not [each for each in functions if each.returns or any(arg.annotation for arg in each.args.args)]


@pytest.mark.parametrize("safe", ["1", ""])
def test_python_need_not_look_for_modules_here(project: Path, safe: str) -> None:
    variables = {"PYTHONSAFEPATH": safe} if safe else {}
    process = run(project, sys.executable, *([] if safe else ["-P"]), "stages", "report", "--help", **variables)
    assert process.returncode == 0 and HELP in process.stdout, process.stderr


@pytest.mark.parametrize("git", [True, False])
def test_dvc_from_elsewhere_runs_the_stages(tmp_path: Path, bare: Path, git: bool) -> None:
    """With another `python` first on the path, PYTHONSAFEPATH and a blank in the folder's name; from a ZIP, too."""
    project = copy_project(tmp_path / "a project")
    make_environment(project / ".venv", libraries=True)
    if not git:
        shutil.rmtree(project / ".git")
        [line] = [line for line in code_blocks("stages/README.md", "Where it runs", "sh") if "no_scm" in line]
        subprocess.run(["bash", "-c", line], cwd=project, env=environment_of_tests(), check=True)
    path = f"{bare.parent}{os.pathsep}{os.environ['PATH']}"
    process = run(project, sys.executable, "-m", "dvc", "repro", "dataset", PATH=path, PYTHONSAFEPATH="1")
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("note: ") == 2 and f"so {project / '.venv/bin/python'} runs this" in process.stderr
    assert (project / "data/eval/images").is_dir()


def test_what_a_stage_starts_finds_the_stages_too(project: Path) -> None:
    """As `benchmark` starts its workers."""
    (project / "stages/started.py").write_text('print("started")\n')
    (project / "stages/starts.py").write_text(
        'import subprocess, sys\nsubprocess.run([sys.executable, "-m", "stages.started"], check=True)\n'
    )
    process = run(project, sys.executable, "stages", "starts", PYTHONSAFEPATH="1")
    assert (process.returncode, process.stdout) == (0, "started\n"), process.stderr


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["timing"], ["../tests"], [""]])
def test_a_stage_that_is_not_there_is_a_sentence(project: Path, arguments: list[str]) -> None:
    assert_a_sentence(run(project, sys.executable, "stages", *arguments), "there is no stage", "python stages report")


def test_who_only_imports_the_stages_is_left_alone(project: Path, bare: Path) -> None:
    make_environment(project / ".venv", libraries=True)
    process = run(project, bare, "-c", "import stages, sys; print(sys.prefix)")
    assert (process.stdout, process.stderr) == (f"{bare.parents[1]}\n", "")


def test_captioning_asks_for_no_more_than_the_package_does() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [each for each in map(Requirement, project["dependencies"]) if not each.marker]
    assert {each.name.lower() for each in needed} == set(environment.NEEDED_BY_PACKAGE)
