"""Which Python runs the stages. DVC starts `python`, which is another than the project's where nobody has activated its
environment, as with a DVC that pipx or a package manager installed.

Any Python can parse this file, as it names those that are too old.
"""

import os
import re
import subprocess
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OLDEST = (3, 11)
NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?")
# What captions and signs needs no more than this, and names the engine that it lacks itself.
OF_THE_PACKAGE = re.compile(r"caption$|captioner\.")
NEEDED_BY_PACKAGE = ("archspec", "numpy", "pillow", "pydantic", "rich", "typer")
# For the processes that this one starts: the environment that was found fit, or that another was left for theirs.
STATE = "BLIP_ON_CPU_ENVIRONMENT"
LEFT_ANOTHER = "left another"


def ensure():
    # type: () -> None
    """Makes sure that what `python -m stages.STAGE` runs has the Python and the libraries that it needs.

    Where they are missing, the project's .venv runs the command, which is said on stderr; where that is not there or
    lacks them too, the process ends with a sentence and status 1. A program that only imports `stages` is left alone.
    """
    old, run = _old_python(), sys.argv[:1] == ["-m"]  # as it is while Python looks for the module to run
    if not run and not old:
        return
    os.environ.pop("PYTHONSAFEPATH", None)  # or what a stage starts would not find `stages`
    if os.environ.get(STATE) == sys.prefix:
        return
    command = getattr(sys, "orig_argv", []) if run else []  # absent before Python 3.10
    stage = command[-len(sys.argv)].rpartition("stages.")[2] if command else ""
    lack = old or _missing_or_old_library(stage)
    if not lack:
        os.environ[STATE] = sys.prefix
        return
    python = _own_python()
    if python and command and os.environ.get(STATE) != LEFT_ANOTHER:
        sys.stderr.write("note: " + lack + ", so " + python + " runs this\n")
        sys.stderr.flush()
        os.environ[STATE] = LEFT_ANOTHER
        _run_instead([python] + command[1:])  # noqa: RUF005
    sys.exit(
        "error: " + lack + ": activate the project's environment, or make one of Python 3.11 or newer with "
        "pip install -r requirements.txt"
    )


def _old_python():
    # type: () -> str
    """What is wrong with this Python, if it is too old."""
    if sys.version_info[:2] >= OLDEST:
        return ""
    return "Python 3.11 or newer is needed, and " + sys.executable + " is " + ".".join(map(str, sys.version_info[:3]))


def _missing_or_old_library(stage):
    # type: (str) -> str
    """Which library of requirements.txt is not here, or is older or of another major version; empty if none is."""
    from importlib.metadata import PackageNotFoundError, version  # Python 3.8 and newer

    for name, pinned in _pins():
        of_the_package = OF_THE_PACKAGE.match(stage) is not None
        if of_the_package and name.lower() not in NEEDED_BY_PACKAGE:
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            return name + " is missing in " + sys.prefix
        (major, minor), (least_major, least_minor) = map(_numbers, (installed, pinned))
        if not of_the_package and (major != least_major or minor < least_minor):
            return sys.prefix + " has " + name + " " + installed + " in place of " + pinned
    return ""


def _pins():
    # type: () -> list[list[str]]
    with open(os.path.join(PROJECT, "requirements.txt")) as stream:
        return [line.split("==") for line in stream.read().split("\n") if "==" in line]


def _numbers(version):
    # type: (str) -> tuple[int, int]
    found = NUMBERS.match(version)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else (0, 0)


def _own_python():
    # type: () -> str
    """The Python of the project's .venv, also for an experiment in a copy below .dvc/tmp; none if that runs already."""
    environment = os.path.join(PROJECT.split(os.path.join(os.sep, ".dvc", "tmp", ""))[0], ".venv")
    if os.path.realpath(sys.prefix) != os.path.realpath(environment):
        for python in (("bin", "python"), ("Scripts", "python.exe")):
            path = os.path.join(environment, *python)
            if os.access(path, os.X_OK):
                return path
    return ""


def _run_instead(command):
    # type: (list[str]) -> None
    if os.name == "nt":  # where exec returns to DVC before the command has ended
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
