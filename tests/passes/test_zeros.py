import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.passes.zeros import SIDE, blocks, lowest, lowest_in_rows, sparsity, two_of_four

SIDES = st.integers(1, 40)
AMOUNTS = st.floats(0, 0.99)


def scores(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) + 0.01


@given(rows=SIDES, columns=SIDES, amount=AMOUNTS, seed=st.integers(0, 100))
def test_as_many_go_as_are_asked_for_and_none_scores_more_than_one_that_stays(
    rows: int, columns: int, amount: float, seed: int
) -> None:
    own = scores(rows, columns, seed)
    goes = lowest(own, amount)
    assert int(goes.sum()) == round(amount * own.numel())
    assert not goes.any() or goes.all() or own[goes].max() <= own[~goes].min()
    by_row = lowest_in_rows(own, amount)
    assert set(by_row.sum(dim=1).tolist()) == {round(amount * columns)}
    for row, gone in zip(own, by_row, strict=True):
        assert not gone.any() or gone.all() or row[gone].max() <= row[~gone].min()


@given(rows=SIDES, columns=SIDES, seed=st.integers(0, 100))
def test_two_of_each_four_go_and_what_is_left_over_stays(rows: int, columns: int, seed: int) -> None:
    goes = two_of_four(scores(rows, columns, seed))
    whole = columns // 4 * 4
    assert (goes[:, :whole].reshape(-1, 4).sum(dim=1) == 2).all()
    assert not goes[:, whole:].any()


def test_the_two_that_go_are_the_lowest() -> None:
    assert two_of_four(torch.tensor([[3.0, 1, 2, 4, 9, 8, 7, 6]])).tolist() == [
        [False, True, True, False, False, False, True, True]
    ]


@given(rows=SIDES, columns=SIDES, amount=AMOUNTS, seed=st.integers(0, 100))
def test_blocks_go_as_a_whole(rows: int, columns: int, amount: float, seed: int) -> None:
    goes = blocks(scores(rows, columns, seed), amount)
    parts = [part for band in goes.split(SIDE) for part in band.split(SIDE, dim=1)]
    assert all(part.all() or not part.any() for part in parts)
    assert sum(bool(part.all()) for part in parts) == round(amount * len(parts))


def test_the_weakest_block_goes_even_if_it_has_a_strong_weight() -> None:
    own = torch.ones(SIDE, 2 * SIDE)
    own[:, SIDE:] = 0.1
    own[0, SIDE] = 2.0
    assert blocks(own, 0.5)[:, SIDE:].all()


def test_sparsity_is_counted_over_linear_layers_only() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight[0] = 0
    assert sparsity(model) == {
        "sparsity": pytest.approx(0.4),
        "sparsity_per_layer": {"0": pytest.approx(0.5), "2": 0.0},
    }
