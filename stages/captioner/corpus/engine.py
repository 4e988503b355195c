"""Ray, started on this machine for one archive, or a cluster that runs already. Imported before Ray is.

Ray reads its settings from the environment as it is imported, so they are made here first: it sends no statistics, and
whoever has no token may not so much as ask.
"""

import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..command_line import InputError, brief
from ..runtimes.cores import usable_cores
from ..runtimes.helpers import startable_threads, thread_limits

# Nothing large passes through it: numbers of pictures, captions. Ray takes no less than 75 MB. A container's 64 MB of
# shared memory are too few, and Ray then keeps it in the temporary folder.
OBJECT_STORE = 128 * 1024**2
# Of Ray's processors, beside those of the workers: for what writes captions and for what leaves out those of last time.
SPARE_PROCESSORS = 2
BLOCK_BYTES = 4 * 1024**2  # of captions at most: what is larger, Ray would write in parts
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # else workers would give way to all others, Ray's own processes among them
}
LITTLE_ROOM = 16 * 1024**2  # bytes
RAYS_THREADS = 200  # in its processes, on a few cores
FEWEST_THREADS = 100  # with fewer it may wait for minutes for a process of its own that has died
# Where it is 0, Ray takes no address but the loopback's, on Linux too, and nobody on the network reaches it.
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def started(address: str | None, logs: str | None) -> Iterator[Any]:
    """The module of Ray, connected: to the cluster at an address, or to processes on this machine that end with the
    block. Their logs lie in a folder of the system's for temporary files that ends with it too, or where they are told.

    Raises InputError if Ray is not installed, doesn't start or can't be reached.
    """
    ray = _import(address)
    folder = logs or tempfile.mkdtemp(prefix="corpus-")
    try:
        os.makedirs(folder, exist_ok=True)
        with _native_errors_in(f"{folder}/driver.log"):
            try:
                _connect(ray, address, folder)
                yield ray
            finally:
                ray.shutdown()
    finally:
        if not logs:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _native_errors_in(file: str) -> Iterator[None]:
    """Lets Ray's core, which is no Python, write into a file what it takes for errors, while Python's go where they
    went."""
    terminal = os.dup(2)
    own = sys.stderr
    with open(file, "ab") as log, open(os.dup(terminal), "w", encoding=own.encoding, errors=own.errors) as stream:
        own.flush()
        os.dup2(log.fileno(), 2)
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = own
            stream.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def _import(address: str | None) -> Any:
    if sys.flags.optimize > 1:
        raise InputError(
            "Ray reads docstrings to start, which this Python leaves out: run it without -OO and PYTHONOPTIMIZE=2"
        )
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if address is None:
        os.environ |= {LOOPBACK_ONLY: "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f"Ray can't be imported ({brief(error)}): install blip-on-cpu with its extra [corpus]"
        ) from None
    return ray


def _connect(ray: Any, address: str | None, logs: str) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None and startable_threads(FEWEST_THREADS) < FEWEST_THREADS:
        raise InputError(f"Ray doesn't start: {_too_few_threads()}")
    try:
        if address is None:
            processors = usable_cores() + SPARE_PROCESSORS
            ray.init(
                "local",
                num_cpus=processors,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _temp_dir=os.path.abspath(logs),
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except Exception as error:  # Ray's own, gRPC's, the system's
        what = f"the cluster at {address} can't be reached" if address else "Ray doesn't start"
        raise InputError(f"{what} ({brief(error)}): {_remedy(logs)}") from None
    _configure(ray)


def _remedy(logs: str) -> str:
    """What to do about a Ray that doesn't start: without room for files or threads it waits, and says no more."""
    if shutil.disk_usage(logs).free < LITTLE_ROOM:
        return f"the disk of {logs} is full: free some space, or name a folder of another one by --logs"
    if startable_threads(RAYS_THREADS) < RAYS_THREADS:
        return _too_few_threads()
    return "see models/README.md, «Caption an archive»"


def _too_few_threads() -> str:
    return f"it starts some hundred threads, of which there may be fewer here ({thread_limits()}): raise the limit"


def _configure(ray: Any) -> None:
    """Settings of Ray Data for all that runs in this process, which the workers get too."""
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # a terminal; what goes wrong ends in a sentence of the command
            handler.setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True
