"""How far an archive is: one bar in a terminal, a line each minute elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LOOKED_EVERY = 1.0  # seconds
TOLD_EVERY = 60.0  # seconds, where no bar can be drawn


def in_words(done: int, total: int, captioned: int, seconds: float) -> str:
    """How many pictures are done, how many a second were captioned in this run and how long the others take."""
    rate = captioned / seconds if seconds > 0 else 0.0
    text = f"{done:,} of {total:,} pictures"
    if not rate:
        return text
    return f"{text}, {rate:.3g} a second, {duration((total - done) / rate)} left"


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


@contextmanager
def shown(total: int, before: int, captioned: Callable[[], int]) -> Iterator[None]:
    """Shows progress while the block runs: of `total` pictures, `before` were done when it began, and `captioned`
    tells how many have been since."""
    console = Console(stderr=True)
    ended = threading.Event()
    show = _show_bar if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(console, ended, total, before, captioned), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=2 * LOOKED_EVERY)


def _show_bar(console: Console, ended: threading.Event, total: int, before: int, captioned: Callable[[], int]) -> None:
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=total)
        for done, text in _states(ended, LOOKED_EVERY, total, before, captioned):
            progress.update(task, completed=done, description=text, refresh=True)


def _show_lines(
    console: Console, ended: threading.Event, total: int, before: int, captioned: Callable[[], int]
) -> None:
    for _, text in _states(ended, TOLD_EVERY, total, before, captioned):
        console.print(text, highlight=False, soft_wrap=True)


def _states(
    ended: threading.Event, pause: float, total: int, before: int, captioned: Callable[[], int]
) -> Iterator[tuple[int, str]]:
    started, first = time.monotonic(), captioned()
    while not ended.wait(pause):
        now = captioned()
        if now == first:  # the time until the first pictures are captioned is the start's
            started = time.monotonic()
        done = min(total, before + now)
        yield done, in_words(done, total, now - first, time.monotonic() - started)
