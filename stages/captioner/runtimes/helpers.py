"""Threads that only save time, and the limits that keep a process from starting any."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from threading import Event, Thread
from typing import ParamSpec, TypeVar

from ..command_line import InputError
from .cgroups import CGROUPS, OWN_CGROUPS, folders_of, read

MOST_HELPERS = 8
# How many threads a runtime starts, at most, told how many to use; with those that help it open where these are many.
THREADS: dict[str, Callable[[int], int]] = {
    "pytorch": lambda threads: 3 * threads - 1,
    "onnxruntime": lambda threads: 2 * threads if threads > 1 else 0,
    "openvino": lambda threads: threads + 7 if threads > 1 else 5,
}
Given = ParamSpec("Given")
Result = TypeVar("Result")


class Helpers(Executor):
    """Runs what it is given in threads of their own, and in the caller's where the system gives no more of them."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []

    def submit(
        self, function: Callable[Given, Result], /, *given: Given.args, **named: Given.kwargs
    ) -> "Future[Result]":
        """Starts a call, or makes it at once."""
        future: Future[Result] = Future()

        def call() -> None:
            try:
                future.set_result(function(*given, **named))
            except BaseException as error:
                future.set_exception(error)

        thread = Thread(target=call)
        try:
            if sum(helper.is_alive() for helper in self._threads) == MOST_HELPERS:
                call()
            else:
                thread.start()
                self._threads.append(thread)
        except RuntimeError:  # «can't start new thread»
            call()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for all threads."""
        for thread in self._threads:
            thread.join()


def startable_threads(most: int) -> int:
    """How many threads, up to `most`, this process may start beside those that it has. Tries it, in 0.1 ms each."""
    ended = Event()
    threads: list[Thread] = []
    try:
        while len(threads) < most:
            thread = Thread(target=ended.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return len(threads)


def check_threads(what: object, runtime: str, threads: int) -> None:
    """Raises InputError if the system gives fewer threads than a runtime takes: some of them kill the process then."""
    needed = THREADS[runtime](threads)
    if "numpy" not in sys.modules and "OPENBLAS_NUM_THREADS" not in os.environ:
        needed += (os.cpu_count() or 1) - 1
    if (startable := startable_threads(needed)) < needed:
        raise InputError(
            f"{what} needs up to {needed} threads more in {runtime}, and this process may start {startable} "
            f"({thread_limits()}): raise that limit, or use fewer threads"
        )


def thread_limits() -> str:
    """The limits of threads that are in force for this process, in words."""
    limits = cgroup_limit(OWN_CGROUPS, CGROUPS)
    if sys.platform != "win32":
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        if most != resource.RLIM_INFINITY:
            limits.append(f"RLIMIT_NPROC of its user is {most} (ulimit -u)")
        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            limits.append(f"its address space, in which each has a stack, is {most >> 20} MB (ulimit -v)")
    return ", ".join(limits) or "no limit is known here, so the system's own is reached or memory is short"


def cgroup_limit(own: Path, mounted: Path) -> list[str]:
    """The limit of a process's cgroup, or of one around it, that leaves least room, in words; nothing without any.

    `own` and `mounted` as `cgroups.folders_of` takes them.
    """
    if sys.platform == "linux" and not read(own):
        return ["pids.max of its cgroup can't be read here"]
    found: list[tuple[int, int, int]] = []
    for folder in folders_of("pids", own, mounted):
        most, used = read(folder / "pids.max"), read(folder / "pids.current")
        if most.isdecimal() and used.isdecimal():
            found.append((int(most) - int(used), int(used), int(most)))
    return [
        f"pids.max of its cgroup is {most}, of which {used} are taken (TasksMax in systemd, --pids-limit in Docker)"
        for _, used, most in sorted(found)[:1]
    ]
