"""`dvc push` against a server that dies midway, `dvc push` and `dvc pull` that die, pushes from two clones at once."""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.projects import change, commit, shell
from tests.sharing.servers import KEY, SECRET, serve_until_killed
from tests.torture.case import LONGEST, Case, begin, contents, damaged, kill_group, lost_by, moments, seconds_of

PUSH = ("dvc", "push")
PULL = ("dvc", "pull")
REMOTE = "blip"  # the folder within a store


@contextmanager
def bucket(store: Path, *projects: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of S3's protocol that keeps what these projects push in `store`, on a port of its own each time.

    It writes beside a file's place, and what it was writing when it dies stays there, under a name of its own.
    """
    store.mkdir(parents=True, exist_ok=True)
    options = ("--auth-key", f"{KEY},{SECRET}")
    with serve_until_killed("s3", store.parent, store.parent.with_name("log"), *options) as (server, address):
        access = {"endpointurl": f"http://{address}", "access_key_id": KEY, "secret_access_key": SECRET}
        for project in projects:
            use(project, f"s3://{store.name}/{REMOTE}", verify="true", **access)
        yield server


def use(project: Path, remote: str, **settings: str) -> None:
    """Makes a remote the project's default, without a trace in Git, as a `dvc remote` for each setting would."""
    lines = [f'    {name} = "{value}"' for name, value in {"url": remote, **settings}.items()]
    text = "\n".join(["[core]", "    remote = team", "['remote \"team\"']", *lines, ""])
    (project / ".dvc" / "config.local").write_text(text, encoding="utf-8")


def kill_the_server(project: Path, place: Path, kills: int, dice: random.Random) -> Iterator[Case]:
    """Kills the server while a project's checkpoints are pushed; the next push to the next server completes."""
    with bucket(place / "served" / "bucket", project):
        seconds = seconds_of(project, *PUSH)
    for number, moment in enumerate(moments(seconds, kills, dice)):
        store = place / f"served-{number}" / "bucket"
        with bucket(store, project) as server:
            push = begin(project, *PUSH)
            time.sleep(moment)
            struck = push.poll() is None
            server.kill()

            def check(push: "subprocess.Popen[bytes]" = push, store: Path = store) -> None:
                push.wait(timeout=LONGEST)
                with bucket(store, project):
                    shell(project, *PUSH)
                    _compare(project, store)

            yield Case(f"the server after {moment:.1f} s", struck, lost_by(check))


def kill_the_client(project: Path, place: Path, kills: int, dice: random.Random) -> Iterator[Case]:
    """Kills a push to a folder; once DVC has forgotten it, the next one completes."""
    use(project, str(place / "folder" / REMOTE))
    seconds = seconds_of(project, *PUSH)
    for number, moment in enumerate(moments(seconds, kills, dice)):
        store = place / f"folder-{number}"
        use(project, str(store / REMOTE))
        struck = _kill_after(moment, project, PUSH)

        def check(store: Path = store) -> None:
            _begin_anew(project, PUSH)
            _compare(project, store)

        yield Case(f"the client after {moment:.1f} s", struck, lost_by(check))


def kill_a_pull(project: Path, place: Path, kills: int, dice: random.Random) -> Iterator[Case]:
    """Kills a pull from a folder, first while it copies a file to its place; what the README says completes it."""
    use(project, str(place / "pulled" / REMOTE))
    shell(project, *PUSH)
    reader = _clone(project)
    pull = begin(reader, *PULL)
    while pull.poll() is None and not _half_written(reader):
        time.sleep(0)
    yield Case("a pull as it writes a file", _kill(pull), lost_by(lambda: _pull_anew(reader, project)))
    seconds = seconds_of(_clone(project), *PULL) if kills > 1 else 0.0
    for moment in moments(seconds, kills - 1, dice):
        reader = _clone(project)
        struck = _kill_after(moment, reader, PULL)
        yield Case(f"a pull after {moment:.1f} s", struck, lost_by(lambda reader=reader: _pull_anew(reader, project)))


def push_at_once(project: Path, place: Path, times: int, dice: random.Random) -> Iterator[Case]:
    """A project and a clone with another checkpoint push to one server at once; who pulls gets those of either.

    Every other time one of the two is killed, and pushes again.
    """
    both = (project, _clone_with(project, place / "clone", 0.2))
    with bucket(place / "shared" / "bucket", *both):
        seconds = seconds_of(project, *PUSH)
    for number, moment in enumerate(moments(seconds, times, dice)):
        store = place / f"shared-{number}" / "bucket"
        with bucket(store, *both):
            pushes = [begin(each, *PUSH) for each in both]
            if number % 2:
                time.sleep(moment)
                kill_group(pushes[0])

            def check(pushes: Sequence["subprocess.Popen[bytes]"] = pushes, store: Path = store) -> None:
                ended = [push.wait(timeout=LONGEST) for push in pushes]
                assert ended[1] == 0, "the push that nobody killed failed"
                _begin_anew(project, PUSH)
                for each in both:
                    _compare(each, store)

            yield Case("one of two is killed" if number % 2 else "two at once", True, lost_by(check))


def _kill_after(moment: float, project: Path, command: Sequence[str]) -> bool:
    """Begins a command and kills it after so many seconds. Whether it hadn't ended by then."""
    process = begin(project, *command)
    time.sleep(moment)
    return _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> bool:
    """Kills a process with all that it started. Whether it hadn't ended by then."""
    struck = process.poll() is None
    kill_group(process)
    return struck


def _half_written(reader: Path) -> bool:
    """Whether DVC is copying a file, or died of it: it writes beside the file's place."""
    return any(file for folder in ("data", "models") for file in (reader / folder).rglob(".*.tmp"))


def _pull_anew(reader: Path, project: Path) -> None:
    """Pulls again, as the README says. Raises AssertionError unless the clone then has what the project has."""
    shell(reader, "find", "data", "models", "-name", ".*.tmp", "-delete")
    _begin_anew(reader, PULL)
    assert not damaged(reader / ".dvc" / "cache"), "a file in the clone's cache is damaged"
    assert contents(reader) == contents(project), "the clone gets something else"


def _begin_anew(project: Path, command: Sequence[str]) -> None:
    """Runs a command that was killed, as the README says: a killed DVC leaves half a list of what to transfer."""
    shell(project, "rm", "-f", ".dvc/tmp/btime")
    shell(project, *command)


def _clone_with(project: Path, clone: Path, amount: float) -> Path:
    """A clone of a project with a checkpoint that the project hasn't, in a commit."""
    shell(project, "git", "clone", "-q", ".", str(clone))
    use(clone, str(project / ".dvc" / "cache"))
    shell(clone, "dvc", "pull", "--quiet")
    change(clone, {"variants.quantized.prune": {"method": "l1_unstructured", "amount": amount}})
    shell(clone, "dvc", "repro", "optimize@quantized")
    commit(clone)
    return clone


def _clone(project: Path) -> Path:
    """A clone of a project that knows its remote."""
    reader = project.parent / "reader"
    shutil.rmtree(reader, ignore_errors=True)
    shell(project, "git", "clone", "-q", ".", str(reader))
    shutil.copy(project / ".dvc" / "config.local", reader / ".dvc")
    return reader


def _compare(project: Path, store: Path) -> None:
    """Raises AssertionError unless who clones a project and pulls from its remote gets what it has."""
    assert not damaged(store / REMOTE), "a file in the remote is damaged"
    reader = _clone(project)
    shell(reader, *PULL)
    assert contents(reader) == contents(project), "a clone that pulls gets something else"
