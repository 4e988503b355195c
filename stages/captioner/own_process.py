"""For a process that does nothing but caption: a quicker start and less memory, by settings of the whole process."""

import os
import sys
from pathlib import Path

from .checkpoint import read_manifest
from .garbage import kept_for_good
from .images import allow_large_pictures
from .runtimes.captioner import Captioner, open_captioner
from .runtimes.cores import usable_cores
from .runtimes.memory import small_heap

# `import openvino` takes longer for these than for all the rest of it, which does without them if it can't.
CONVERSION_TOOLS = "openvino.tools.ovc"


def open_in_own_process(checkpoint: Path, threads: int | None = None) -> Captioner:
    """`open_captioner`, without regard for anything else in this process, in any runtime on one thread per core.

    Raises InputError as it does.
    """
    allow_large_pictures()
    # Nothing multiplies matrices with numpy, but its threads would spin for a while, waiting for some.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if read_manifest(checkpoint).runtime == "pytorch":
        with kept_for_good():
            return open_captioner(checkpoint, threads or usable_cores())
    sys.modules.setdefault(CONVERSION_TOOLS, None)  # type: ignore[arg-type]
    with small_heap(), kept_for_good():
        return open_captioner(checkpoint, threads)
