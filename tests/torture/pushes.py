"""`dvc push` against a server that dies midway, from a client that dies, and from two clones at once."""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.sharing.servers import serve_until_killed
from tests.test_pipeline import change, commit, shell
from tests.torture.case import LONGEST, Case, begin, contents, damaged, kill_group, lost_by, moments, seconds_of

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "a secret of the usual length: 40 letters"
PUSH = ("dvc", "push")


@contextmanager
def bucket(store: Path, *projects: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of S3's protocol that keeps what these projects push in `store`, on a port of its own each time."""
    options = ("--auth-key", f"{KEY},{SECRET}")
    with serve_until_killed("s3", store.parent, store.parent.with_name("log"), *options) as (server, address):
        settings = {"endpointurl": f"http://{address}", "access_key_id": KEY, "secret_access_key": SECRET}
        for project in projects:
            use(project, f"s3://{store.name}/blip")
            for name, value in settings.items():
                shell(project, "dvc", "remote", "modify", "--local", "team", name, value)
        yield server


def use(project: Path, remote: str) -> None:
    """Makes a remote the project's default, without a trace in Git."""
    shell(project, "dvc", "remote", "add", "--local", "--force", "--default", "team", remote)


def empty(store: Path) -> Path:
    """A folder of this name with nothing in it."""
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    return store


def kill_the_server(project: Path, place: Path, kills: int, dice: random.Random) -> Iterator[Case]:
    """Kills the server while a project's checkpoints are pushed; the next push to the next server completes."""
    store = empty(place / "served" / "bucket")
    with bucket(store, project):
        seconds = seconds_of(project, *PUSH)
    for moment in moments(seconds, kills, dice):
        empty(store)
        with bucket(store, project) as server:
            push = begin(project, *PUSH)
            time.sleep(moment)
            struck = push.poll() is None
            server.kill()

            def check(push: "subprocess.Popen[bytes]" = push) -> None:
                push.wait(timeout=LONGEST)
                with bucket(store, project):
                    shell(project, *PUSH)
                    _compare(project, store)

            yield Case(f"the server after {moment:.1f} s", struck, lost_by(check))


def kill_the_client(project: Path, place: Path, kills: int, dice: random.Random) -> Iterator[Case]:
    """Kills a push to a folder; the next one completes."""
    store = empty(place / "folder" / "bucket")
    use(project, str(store / "blip"))
    seconds = seconds_of(project, *PUSH)
    for moment in moments(seconds, kills, dice):
        empty(store)
        push = begin(project, *PUSH)
        time.sleep(moment)
        struck = push.poll() is None
        kill_group(push)

        def check() -> None:
            shell(project, *PUSH)
            _compare(project, store)

        yield Case(f"the client after {moment:.1f} s", struck, lost_by(check))


def push_at_once(project: Path, place: Path, times: int, dice: random.Random) -> Iterator[Case]:
    """Two clones with checkpoints of their own push to one server at once; who pulls gets those of either.

    Every other time one of the two is killed, and pushes again.
    """
    store = empty(place / "shared" / "bucket")
    clones = [_clone_with(project, place / f"clone-{amount}", amount) for amount in (0.2, 0.4)]
    with bucket(store, *clones):
        seconds = seconds_of(clones[0], *PUSH)
    for number, moment in enumerate(moments(seconds, times, dice)):
        empty(store)
        with bucket(store, *clones):
            pushes = [begin(clone, *PUSH) for clone in clones]
            if number % 2:
                time.sleep(moment)
                kill_group(pushes[0])

            def check(pushes: Sequence["subprocess.Popen[bytes]"] = pushes) -> None:
                ended = [push.wait(timeout=LONGEST) for push in pushes]
                assert ended[1] == 0, "the push that nobody killed failed"
                shell(clones[0], *PUSH)
                for clone in clones:
                    _compare(clone, store)

            yield Case("one of two is killed" if number % 2 else "two at once", True, lost_by(check))


def _clone_with(project: Path, clone: Path, amount: float) -> Path:
    """A clone of a project with a checkpoint that the project hasn't, in a commit."""
    shell(project, "git", "clone", "-q", ".", str(clone))
    use(clone, str(project / ".dvc" / "cache"))
    shell(clone, "dvc", "pull", "--quiet")
    change(clone, {"variants.quantized.prune": {"method": "l1_unstructured", "amount": amount}})
    shell(clone, "dvc", "repro", "optimize@quantized")
    commit(clone)
    return clone


def _compare(project: Path, store: Path) -> None:
    """Raises AssertionError unless who clones a project and pulls from its remote gets what it has."""
    assert not damaged(store / "blip"), "a file in the remote is damaged"
    with_settings = project / ".dvc" / "config.local"
    reader = project.parent / "reader"
    shutil.rmtree(reader, ignore_errors=True)
    shell(project, "git", "clone", "-q", ".", str(reader))
    shutil.copy(with_settings, reader / ".dvc")
    shell(reader, "dvc", "pull")
    assert contents(reader) == contents(project), "a clone that pulls gets something else"
