"""What to do where a runtime can't start, by what the system said; the libraries word it each in its own way."""

import errno
import os

from .helpers import thread_limits

NO_MEMORY = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to allocate",
    "failed to map segment",
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "not enough memory",
)
NO_THREADS = ("can't start new thread", "resource temporarily unavailable", "pthread_create")
# The last two are what Xbyak and oneDNN say, which make the code of kernels while they run.
NO_CODE = ("operation not permitted", "permission denied", "executable stack", "can't protect", "create a primitive")
FULL_DISK = (os.strerror(errno.ENOSPC).lower(), os.strerror(errno.EDQUOT).lower())


def remedy(error: BaseException, otherwise: str) -> str:
    """What the user may do about an error that a library raised; `otherwise` where it says nothing known."""
    said = f"{type(error).__name__} {error}".lower()
    if any(words in said for words in NO_CODE):
        return (
            "let this process run what it writes to memory (MemoryDenyWriteExecute=no in systemd) and load libraries "
            "(from no disk that is mounted noexec), or take a checkpoint for onnxruntime, which needs no such right"
        )
    if isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY):
        return "free memory, or raise what limits this process's memory or address space (ulimit -v, a cgroup)"
    if any(words in said for words in NO_THREADS):
        return f"raise what limits this process's threads ({thread_limits()})"
    if any(words in said for words in FULL_DISK):
        return "free some space on that disk"
    if os.strerror(errno.EMFILE).lower() in said:
        return "raise the limit of open files (ulimit -n)"
    return otherwise
