"""Captioners in programs that fork, such as servers that open before they start their workers."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stages.captioner import InputError, open_captioner
from tests.captioner.runtimes.test_captioner import RUNTIMES
from tests.conftest import PROJECT, Build

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")

# Opens, forks, does something in the child, and says how that ended and whether the parent goes on as before.
FORKING = """
import gc, os, signal, sys, threading
from pathlib import Path
from PIL import Image
from stages.captioner import InputError, open_captioner

checkpoint, ending, *steps = sys.argv[1:]
picture = Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 20)
captioner = open_captioner(checkpoint, threads=2)
before = captioner.caption([picture])
parts = captioner.parts
stop = threading.Event()

def caption_on():
    while not stop.is_set():
        captioner.caption([picture])

thread = threading.Thread(target=caption_on)
if "in a thread" in steps:
    thread.start()

def end():
    if ending == "exception":
        raise ValueError("the child's own")
    (os._exit if ending == "os._exit" else sys.exit)(3)

def in_child():
    signal.alarm(300)  # a child that hangs dies
    sys.stdin.close()
    if "with" in steps:
        with captioner:
            end()
    for use in (lambda: captioner.caption([picture]), lambda: captioner.caption([]), lambda: captioner.parts,
                captioner.close):
        try:
            use()
        except InputError as error:
            print(error, flush=True)
    if "open" in steps:
        try:
            with open_captioner(checkpoint, threads=2) as own:
                print(own.caption([picture]) == before, flush=True)
        except InputError as error:
            print(error, flush=True)
    if "del" in steps:
        globals().pop("captioner"), globals().pop("parts")
        gc.collect()
    end()

child = os.fork()
if child == 0:
    in_child()
_, status = os.waitpid(child, 0)
print("ended with", os.waitstatus_to_exitcode(status), flush=True)
stop.set()
if thread.ident:
    thread.join()
assert captioner.caption([picture]) == before
captioner.close()
print("the parent went on")
"""
REFUSED = (
    "this captioner was opened in another process, of which this one is a fork: "
    "open its checkpoint in each process, after the fork"
)
ENDINGS = {"sys.exit": 3, "os._exit": 3, "exception": 1}


def fork(*arguments: object) -> list[str]:
    """What a program that forks prints, line by line."""
    process = subprocess.run(
        [sys.executable, "-c", FORKING, *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", RUNTIMES)
def test_in_a_fork_every_use_is_one_sentence_and_its_end_harms_nobody(name: str, ending: str, build: Build) -> None:
    lines = fork(build(name), ending)
    assert lines[:4] == [REFUSED] * 4
    assert lines[4:] == [f"ended with {ENDINGS[ending]}", "the parent went on"]


@pytest.mark.parametrize("steps", [("in a thread", "del"), ("with",)])
@pytest.mark.parametrize("name", RUNTIMES)
def test_what_a_fork_inherits_may_be_let_go_of_at_any_time(name: str, steps: tuple[str, ...], build: Build) -> None:
    assert fork(build(name), "sys.exit", *steps)[-2:] == ["ended with 3", "the parent went on"]


@pytest.mark.parametrize("steps", [("open", "del"), ("open", "in a thread")])
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_fork_opens_its_own_or_hears_why_it_can_not(name: str, steps: tuple[str, ...], build: Build) -> None:
    lines = fork(build(name), "sys.exit", *steps)
    if name == "quantized":
        assert lines[4].startswith("PyTorch has run in the process that this one is a fork of, and can't run in both:")
    else:
        assert lines[4] == "True"
    assert lines[5:] == ["ended with 3", "the parent went on"]


# Forks time and again, each time while a new thread of the parent begins to caption, a little later each time.
BEGINNING = """
import ctypes, os, signal, sys, threading, time
from PIL import Image
from stages.captioner import open_captioner

checkpoint, forks = sys.argv[1], int(sys.argv[2])
picture = Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 20)
captioner = open_captioner(checkpoint, threads=2)
before = captioner.caption([picture])
for number in range(forks):
    thread = threading.Thread(target=captioner.caption, args=([picture],))
    thread.start()
    time.sleep(number * 2e-4)
    if os.fork() == 0:
        signal.alarm(60)  # a child that hangs dies
        ctypes.CDLL(None).puts(b"its libraries' last words")
        print("a child's last words")
        sys.exit(3)
    print("ended with", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    thread.join()
assert captioner.caption([picture]) == before
"""


LAST_WORDS = ("a child's last words", "its libraries' last words", "ended with 3")


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_fork_ends_whatever_a_thread_of_its_parent_has_just_begun(name: str, build: Build) -> None:
    process = subprocess.run(
        [sys.executable, "-c", BEGINNING, str(build(name)), "20"],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        timeout=1300,
    )
    assert process.returncode == 0, process.stderr
    assert Counter(process.stdout.splitlines()) == dict.fromkeys(LAST_WORDS, 20)


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_captioner_can_not_be_sent_elsewhere(send: object, build: Build) -> None:
    with open_captioner(build("onnx_int8")) as captioner:
        with pytest.raises(InputError, match="can't be copied or sent to another process: send its checkpoint's path"):
            send(captioner)  # type: ignore[operator]
        process = multiprocessing.get_context("spawn").Process(target=print, args=(captioner,))
        with pytest.raises(InputError, match="send its checkpoint's path"):
            process.start()
        assert captioner.caption([]) == []


OWN_IN_EACH = """
import multiprocessing, sys
from PIL import Image
from stages.captioner import open_captioner

def caption(checkpoint):
    with open_captioner(checkpoint, threads=1) as captioner:
        return captioner.caption([Image.new("RGB", (90, 60), "red")])

if __name__ == "__main__":
    method, checkpoint = sys.argv[1:]
    with multiprocessing.get_context(method).Pool(2) as pool:
        first, second = pool.map(caption, [checkpoint] * 2, chunksize=1)
    assert first == second == caption(checkpoint)
"""


@pytest.mark.parametrize(
    ("name", "method"),
    [*zip(RUNTIMES, ["fork"] * 3, strict=True), ("quantized", "forkserver"), ("openvino_int8", "spawn")],
)
def test_workers_that_open_their_own_caption(name: str, method: str, build: Build, tmp_path: Path) -> None:
    """However they are started, while the process that starts them has opened none."""
    (tmp_path / "program.py").write_text(OWN_IN_EACH, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, tmp_path / "program.py", method, str(build(name))],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
