"""Opens checkpoints in a process of its own, so that one that ends the process, or hangs it, is seen."""

import os
import resource
import select
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.conftest import PROJECT

# Seconds for one checkpoint, thousands of times as many as it takes; and bytes.
LONGEST = 120
MOST_MEMORY = 6 * 1024**3

PROGRAM = """
import sys
from pathlib import Path
from stages.captioner import InputError, open_captioner, open_image

picture = open_image(sys.argv[1])
for line in sys.stdin:
    try:
        with open_captioner(Path(line.rstrip("\\n")), threads=1) as captioner:
            captioner.caption([picture])
        answer = "captions"
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    print("answer:", " ".join(answer.splitlines())[:500], flush=True)
"""


class Opener:
    """A process that opens one checkpoint after the other."""

    def __init__(self, picture: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(picture)],
            cwd=PROJECT,
            env={**os.environ, "XDG_CACHE_HOME": "relative, so nothing is kept"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def open(self, checkpoint: Path) -> str:
        """`captions` if it is opened and captions a picture, or the name of what was raised, and its message."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{checkpoint}\n")
        self.process.stdin.flush()
        while select.select([self.process.stdout], [], [], LONGEST)[0]:
            line = self.process.stdout.readline()
            if line.startswith("answer: "):
                return line.removeprefix("answer: ").rstrip("\n")
            if not line:
                return f"the process ended with {self.process.wait()}"
        return f"nothing in {LONGEST} seconds"
