import signal
import sys
import time

import pytest

from stages.captioner.corpus import interruption
from stages.captioner.corpus.interruption import insistent


class Deaf:
    """Interrupted where it is cleaned up, of which nobody hears."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What Python raised where nobody could catch it."""
    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: found.append(what.exc_type))
    monkeypatch.setattr(interruption, "REPEATED_AFTER", 0.05)
    return found


def test_an_interrupt_that_is_dropped_comes_again(dropped: list[object]) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), insistent():
        Deaf()
        time.sleep(60)
    assert dropped == [KeyboardInterrupt]
    assert time.monotonic() - started < 60


def test_what_others_make_of_it_is_an_interrupt_in_the_end(dropped: list[object]) -> None:
    with pytest.raises(KeyboardInterrupt), insistent():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("it broke off") from None
    with pytest.raises(KeyboardInterrupt), insistent():
        Deaf()
    time.sleep(0.1)  # in which nothing comes again
    assert dropped == [KeyboardInterrupt]


def test_all_is_as_before_behind_the_block() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGALRM, signal.SIGINT)]
    with insistent():
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert [signal.getsignal(each) for each in (signal.SIGALRM, signal.SIGINT)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
