"""The short form: a disk that is half as large as it would have to be."""

from pathlib import Path

import pytest

from tests.torture.case import SHORT, assert_nothing_lost
from tests.torture.disks import can_mount, fill_disks


@pytest.mark.skipif(not can_mount(), reason="this system lets this user mount no disk")
def test_a_full_disk_is_one_sentence(project: Path) -> None:
    assert_nothing_lost(fill_disks(project, [SHORT], [0.5], SHORT), 1)
