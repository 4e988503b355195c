"""How a fork of a process that has opened a checkpoint ends, though it has none of the threads that its parent has."""

import ctypes


def end_with_python() -> bool:
    """Lets this process end as soon as Python has, without the ends of C++ libraries: some wait for threads or locks
    that only the parent has. What C has not written yet, it writes.

    Returns whether that is possible, which it is with glibc.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "on_exit"):
        return False
    library.on_exit(library._exit, None)  # what it is given last runs first
    library.on_exit(library.fcloseall, None)
    return True
