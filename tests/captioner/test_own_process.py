"""What opening a checkpoint in a process of its own sets for all of it."""

import gc
from contextlib import nullcontext

import pytest

from stages.captioner.own_process import kept_for_good


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_looked_for_again_behind_what_is_kept(fails: bool) -> None:
    try:
        with pytest.raises(ValueError) if fails else nullcontext(), kept_for_good():
            assert not gc.isenabled()
            kept = object.__new__(type("Kept", (), {}))
            if fails:
                raise ValueError
        assert gc.isenabled() and gc.get_freeze_count() > 0
        assert gc.is_tracked(kept) and not any(own is kept for own in gc.get_objects())
    finally:
        gc.unfreeze()
