import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.corpus.archive import LARGEST_BLOCK, count_blocks
from stages.captioner.corpus.calibration import (
    Arrangement,
    Trial,
    arrangements_to_try,
    choose,
    sizes_to_try,
    try_batch_sizes,
    worth_trying,
)


def test_more_pictures_at_once_are_tried_as_long_as_they_pay() -> None:
    rates = {1: 10.0, 2: 14.0, 4: 17.0, 8: 17.1, 16: 99.0}
    tried: list[int] = []

    def rate(size: int) -> float:
        tried.append(size)
        return rates[size]

    assert try_batch_sizes(rate, [1, 2, 4, 8, 16]) == (4, 17.0)
    assert tried == [1, 2, 4, 8]


def test_trying_ends_when_the_archive_is_too_small_for_it() -> None:
    assert try_batch_sizes(lambda size: 10.0 * size, [4, 8, 16], lambda rate: rate < 60) == (8, 80.0)
    assert try_batch_sizes(lambda size: 10.0 * size, [4, 8, 16], lambda _: False) == (4, 40.0)
    is_worth = worth_trying(10**6)
    assert is_worth(10.0) and not is_worth(1e15)


def test_what_is_asked_for_is_not_tried() -> None:
    assert sizes_to_try(5) == [5] and sizes_to_try(None) == [16, 32]
    assert arrangements_to_try(8, 2) == [(4, 2)] and arrangements_to_try(2, 8) == [(1, 8)]
    assert arrangements_to_try(8, None) == [(8, 1), (1, 8)] and arrangements_to_try(1, None) == [(1, 1)]


def test_workers_that_find_no_room_don_t_count() -> None:
    many, one = Trial(Arrangement(8, 1, 4), 80.0, 100), Trial(Arrangement(1, 8, 4), 50.0, 150)
    assert choose([many, one], 1000) == many
    assert choose([many, one], 600) == Trial(Arrangement(6, 1, 4), 60.0, 100)
    assert choose([many, one], 300) == one
    assert choose([one], 10).arrangement.workers == 1


@pytest.mark.parametrize(
    ("pictures", "workers", "at_once", "blocks"),
    [
        (1, 2, 16, 1),
        (40, 64, 16, 40),
        (500, 64, 16, 64),
        (300, 2, 1, 18),
        (300, 2, 16, 10),
        (1200, 2, 32, 20),
        (10_000, 2, 16, 90),
        (10_000, 64, 16, 128),
        (10**8, 2, 32, 24416),
    ],
)
def test_blocks_grow_with_the_archive(pictures: int, workers: int, at_once: int, blocks: int) -> None:
    assert count_blocks(pictures, workers, at_once) == blocks


@given(pictures=st.integers(1, 10**9), workers=st.integers(1, 1000), at_once=st.integers(1, 64))
def test_workers_have_as_many_blocks_each_and_none_is_too_large(pictures: int, workers: int, at_once: int) -> None:
    blocks = count_blocks(pictures, workers, at_once)
    assert 1 <= blocks <= pictures and (blocks == pictures or blocks % workers == 0)
    assert pictures / blocks <= max(LARGEST_BLOCK, math.isqrt(pictures)) + at_once
