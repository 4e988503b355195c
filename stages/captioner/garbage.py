"""When Python looks for garbage: not while what stays is imported, nor ever again in that.

Importing PyTorch makes a million objects that stay. Looking through them time and again is a sixth of its time, and
once more as long when the process ends.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def keep_for_good() -> None:
    """Lets Python look for garbage from here on, but never in what there is by now."""
    gc.enable()
    gc.freeze()


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Lets Python look for no garbage in the block, nor ever again in what the block leaves."""
    gc.disable()
    try:
        yield
    finally:
        keep_for_good()
