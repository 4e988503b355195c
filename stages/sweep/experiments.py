"""Values of a knob as experiments of DVC, each with its name, made in a clone of this checkout.

`dvc exp run`, with `--queue` or `--temp` too, changes params.yaml and checks out other commits in the checkout it is
called in; killed in that moment, it leaves them so. In a clone it can be killed at any time. One value runs after the
other, as their times must not be taken beside each other, and from the state in which the one before left the clone,
so DVC runs only what the knob reaches.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import modify_yaml

from stages.captioner.command_line import InputError, brief, printable, shorten
from stages.host import MODEL_FILES, record_model, record_pictures
from stages.records.examples import PICTURES
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS
from stages.setup.params import OWN_FOLDER, PARAMS, Params, read_params
from stages.sweep.checkout import GIT_PLACES, clone_last_commit, git, top_folder
from stages.sweep.knob import Number, put

# A folder that DVC keeps out of Git and out of its own sight, on the disk that holds the checkpoints anyway.
APART = Path(".dvc/tmp/sweep")
CLONE, LOGS, LOCK = APART / "clone", APART / "logs", APART / "lock"
RESULTS = ("dvc.lock", REPORTS.as_posix())  # of an experiment: what DVC and the next value go on from
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")
NEVER_RUN = {"train_demo", "report"}
LONGEST_REASON = 300  # characters


@contextmanager
def clone_of_checkout() -> Iterator[Path]:
    """A clone of this checkout with its uncommitted changes to files in Git, sharing its cache; removed in the end.

    There is one sweep at a time: waits for another, and for a value that a killed one left running, whose result it
    then takes over. Raises InputError if this is no Git repository with a commit, or Git knows no name to commit as.
    """
    git(Path(), "rev-parse", "--verify", "HEAD")
    if not git(Path(), "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False):
        raise InputError("Git does not know whose experiments these are: git config user.name and user.email")
    APART.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        os.set_inheritable(lock.fileno(), True)  # so a value that outlives its sweep keeps the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another sweep is under way here, or a value that one left running: waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_left_over()
        try:
            yield _make_clone()
        finally:
            shutil.rmtree(CLONE, ignore_errors=True)


def _remove_left_over() -> None:
    if CLONE.exists():
        with suppress(InputError):  # killed while it was made, it is no repository
            collect(CLONE)
        shutil.rmtree(CLONE)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir()


def _make_clone() -> Path:
    git(Path(), "update-index", "-q", "--refresh", check=False)
    changes = git(Path(), "diff-index", "--patch", "--binary", "--full-index", "--no-relative", "HEAD", "--", ".")
    clone = clone_last_commit(CLONE)
    if changes:
        git(CLONE, "apply", "--index", "--whitespace=nowarn", given=changes)
    if not (clone / ".dvc/config").is_file():  # DVC would look for a project further up, and find this checkout
        raise InputError(".dvc/config is not in Git: commit it, as a sweep runs in a clone")
    for key in ("user.name", "user.email"):
        if own := git(Path(), "config", key, check=False).decode().strip():
            git(clone, "config", key, own)
    if Path(".dvc/config.local").exists():
        shutil.copy(".dvc/config.local", clone / ".dvc/config.local")
    cache = Path(_dvc(Path(), "cache", "dir").strip()).absolute()
    _dvc(clone, "cache", "dir", "--local", str(cache))
    (clone / OWN_FOLDER).mkdir(parents=True, exist_ok=True)
    for path in Path(OWN_FOLDER).glob("*"):
        if not os.path.lexists(clone / path):
            (clone / path).symlink_to(path.absolute())
    return clone


def name_experiments(
    clone: Path, knob: str, settings: dict[Number, Params], checkpoints: list[str]
) -> dict[Number, str]:
    """The name of each value's experiment, by value: the knob, the value and a digest of all that its figures hang on.

    That is this machine, the code, the model's and the pictures' own files, and the settings. Raises InputError if
    files that params.yaml names are not here.
    """
    model = next(iter(settings.values())).chosen_model()
    record_model(model.source, clone / MODEL_FILES)
    record_pictures(model.dataset, clone / PICTURES)
    stages = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages = {name: stage.get("do", stage) for name, stage in stages.items() if name not in NEVER_RUN}
    files = {file for stage in stages.values() for file in stage.get("deps", []) if "$" not in file}
    common = [
        describe_machine(),
        stages,
        git(clone, "ls-files", "--stage", "--", *sorted(files)).decode(errors="replace"),
        [(clone / record).read_text(encoding="utf-8") for record in (MODEL_FILES, PICTURES)],
    ]
    names = {}
    for value, params in settings.items():
        own = params.model_dump(mode="json", include={"model", "variants", "decoding", "evaluation", "benchmark"})
        own["variants"] = {name: own["variants"][name] for name in checkpoints if name in own["variants"]}
        content = json.dumps([common, own, model.model_dump(mode="json")], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        names[value] = f"{knob.removeprefix('variants.')}={value}_{digest}"
    return names


def find(name: str) -> str | None:
    """The commit of an experiment that is done, whatever commit it started from."""
    lines = git(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").decode().splitlines()
    found = [line.partition(" ") for line in lines]
    return next(
        (commit for commit, _, ref in found if (own := EXPERIMENT.fullmatch(ref)) and own["name"] == name), None
    )


def go_on_from(clone: Path, commit: str) -> None:
    """Puts what an experiment found into the clone, so that the next one runs only what differs from it."""
    git(clone, "restore", "--source", commit, "--staged", "--worktree", "--", *RESULTS)


def run_experiment(clone: Path, name: str, keys: list[str], value: Number, params: Params, stages: list[str]) -> str:
    """Runs stages with a knob's value as an experiment of this checkout; returns its commit.

    Raises InputError with the reason if it fails. Interrupted, it ends all that it started.
    """
    with modify_yaml(clone / PARAMS) as document:
        put(document, keys, value)
    if read_params(clone / PARAMS) != params:
        raise InputError(f"{'.'.join(keys)} can't be set in {PARAMS} alone: write it there without anchors")
    log = LOGS / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "exp", "run", "--name", name, *stages],
            cwd=clone,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=False,  # for the lock
        )
        try:
            _follow(process, log)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode:
        raise InputError(_reason(log))
    collect(clone)
    if commit := find(name):
        return commit
    raise InputError(f"DVC made no experiment of it: see {log}")


def _follow(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Prints which stages run, until the process ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        ended, unfinished = False, ""
        while not ended:
            ended = process.poll() is not None
            *whole, unfinished = (unfinished + lines.read()).split("\n")
            for line in whole:
                if running := re.fullmatch(r"Running stage '(.*)':", line):
                    print(f"  {running[1]}", flush=True)
            time.sleep(0 if ended else 0.2)


def _reason(log: Path) -> str:
    """Why an experiment failed: the sentence in which one of our stages ended, or else the last lines."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Having any troubles?")]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return shorten(printable(ours[-1] if ours else " ".join(lines[-2:]) or "DVC said nothing"), LONGEST_REASON)


def collect(clone: Path) -> None:
    """Brings the experiments that are done in a clone into this checkout's own."""
    refs = git(clone, "for-each-ref", "--format=%(refname)", "refs/exps").decode().split()
    if done := [f"+{ref}:{ref}" for ref in refs if EXPERIMENT.fullmatch(ref)]:
        git(Path(), "fetch", "--quiet", "--no-tags", top_folder(clone), *done)


def read_figures(commit: str, checkpoint: str) -> dict[str, dict[str, Any]]:
    """What an experiment found about a checkpoint: {"benchmark": {…}, "quality": {…}}."""
    paths = {part: (REPORTS / part / f"{checkpoint}.json").as_posix() for part in ("benchmark", "quality")}
    return {part: json.loads(git(Path(), "show", f"{commit}:./{path}")) for part, path in paths.items()}


def _dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    process = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"dvc {' '.join(arguments[:2])} fails ({brief(process.stderr)}): run this in a DVC project")
    return process.stdout


def _environment() -> dict[str, str]:
    """With the Python that runs this first on the path, as the stages' commands are «python -m …».

    Without what Git's hooks are given, which would make Git in the clone change this checkout.
    """
    own = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}"
    return {**own, "PATH": path, "DVC_NO_ANALYTICS": "1"}
