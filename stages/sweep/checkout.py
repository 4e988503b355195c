"""Git, and a clone of the last commit, in which stages can run without changing anything in this checkout.

`python -m stages.sweep.checkout FOLDER` makes such a clone and prints where in it the project lies.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from stages.captioner.command_line import InputError, brief, run

# What Git's hooks are given, which would make Git in a clone change this checkout.
GIT_PLACES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"}
# Git that was told to trust a checkout of another user's wants to be told again, at both ends, of the `.git` in it.
TRUSTING = ["-c", "safe.directory=*", "clone", "--upload-pack=git -c safe.directory='*' upload-pack"]
# What Git says, why it does, and what to do then.
REASONS = {
    r"dubious ownership in repository at '(.+)'": r"it belongs to another user, which Git does not trust: if you do, "
    r"git config --global --add safe.directory '\1'",
    "not a git repository": "it is in no Git repository, as from a ZIP: clone the project instead, or "
    "git init && git add . && git commit -m start",
    "Needed a single revision": "the Git repository has no commit yet: git add . && git commit -m start",
}


def git(folder: Path, *arguments: str, given: bytes = b"", check: bool = True) -> bytes:
    """What a Git command prints in a folder. Raises InputError if there is no Git or, with `check`, if it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in GIT_PLACES} | {"LC_ALL": "C"}
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, input=given, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise InputError("there is no command git: install Git") from None
    if check and process.returncode:
        raise InputError(_explain(f"Git fails in {folder.absolute()}", process.stderr))
    return process.stdout


def _explain(failure: str, said: bytes) -> str:
    text = said.decode(errors="replace")
    for pattern, reason in REASONS.items():
        if found := re.search(pattern, text):
            return f"{failure}, as {found.expand(reason)}"
    return f"{failure} ({brief(text)}): correct that, or end an unfinished merge, and run this again"


def clone_last_commit(target: Path) -> Path:
    """Clones the whole repository that this folder lies in; returns where in the clone this folder is.

    Raises InputError if there is no Git repository with a commit that has it, or Git does not trust it.
    """
    git(Path(), "rev-parse", "--verify", "HEAD")
    inside = os.fsdecode(git(Path(), "rev-parse", "--show-prefix")).removesuffix("\n")
    git(Path(), *TRUSTING, "--quiet", top_folder(Path()), str(target))
    if not (target / inside).is_dir():
        raise InputError(f"{Path().absolute()} is not in the last commit: git add . && git commit -m start")
    return target / inside


def top_folder(folder: Path) -> str:
    """The folder of the whole repository that a folder lies in. Raises InputError as `git` does."""
    return os.fsdecode(git(folder, "rev-parse", "--show-toplevel")).removesuffix("\n")


def main(folder: Annotated[Path, typer.Argument(help="a new folder for the clone")]) -> None:
    """Clones the last commit, and prints where in the clone the project lies."""
    print(clone_last_commit(folder))


if __name__ == "__main__":
    run(main)
