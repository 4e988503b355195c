"""What a process of the pipeline is like. Nothing that it imports sends or stores statistics of its use, or needs a
home; and no stage outlives the DVC that runs it, beside whose next run it would be timed."""

import os
import sys
import time
from threading import Thread

from stages.captioner.command_line import ending_in_one_sentence

# Each library reads its own when it is imported, which is after this.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Where a process may have few threads, numpy's library for matrices kills it; nothing here multiplies any with numpy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO and NNCF take a stub instead
if os.path.expanduser("~") == "~":  # a user without an entry in the system, for whom NNCF can't be imported
    os.environ["HOME"] = "/"


def end_with_parent() -> None:
    """Lets this process end as soon as the one that started it has. Raises RuntimeError where it may have no thread."""
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if "DVC_STAGE" in os.environ:  # which DVC sets for the command of a stage
    with ending_in_one_sentence():
        end_with_parent()
