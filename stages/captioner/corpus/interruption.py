"""Ctrl-C that is not lost: Python drops what it raises in that which it calls to clean up, and Ray has much of that."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEATED_AFTER = 3.0  # seconds, in which Ray ends what runs, if the interrupt has reached it


@contextmanager
def insistent() -> Iterator[None]:
    """Lets Ctrl-C raise KeyboardInterrupt in the block time and again, until the block ends, and then whatever others
    made of it. For the main thread."""
    pressed = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.setitimer(signal.ITIMER_REAL, REPEATED_AFTER)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGALRM, signal.SIGINT)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # before SIGALRM is again what ends the process
        for each, handler in before.items():
            signal.signal(each, handler)
        if pressed:
            raise KeyboardInterrupt
