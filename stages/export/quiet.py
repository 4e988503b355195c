"""Exporters and quantizers say much that is not for this project's users, and set up the process's log for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Logs nothing below an error in the block, and leaves levels, handlers and filters of the log as they were."""
    root = logging.root
    disabled, level, handlers, filters = root.manager.disable, root.level, list(root.handlers), list(root.filters)
    levels = [handler.level for handler in handlers]
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:], root.filters[:] = handlers, filters
        for handler, own in zip(handlers, levels, strict=True):
            handler.setLevel(own)
