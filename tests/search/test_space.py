from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from stages.search.space import Shape, knobs_of, recipe_of, space, start_points, uncut
from stages.setup.params import PARAMS, Recipe, read_params
from tests.conftest import PROJECT

DEMO, BASE = Shape(128, 16, 6), Shape(384, 16, 12)


def values(own: BaseDistribution) -> st.SearchStrategy[Any]:
    if isinstance(own, CategoricalDistribution):
        return st.sampled_from(own.choices)
    assert isinstance(own, FloatDistribution | IntDistribution) and own.step
    return st.integers(0, round((own.high - own.low) / own.step)).map(lambda steps: own.low + steps * own.step)


@given(st.data(), st.sampled_from([DEMO, BASE]))
def test_knobs_and_recipes_mean_each_other(data: st.DataObject, shape: Shape) -> None:
    knobs = data.draw(st.fixed_dictionaries({name: values(own) for name, own in space(shape).items()}))
    recipe = recipe_of(knobs, shape)
    assert recipe.equalize and recipe.quantize
    if not recipe.recover:  # as there is nothing to recover from, or nobody asked
        knobs["recover.steps"] = 0
    assert knobs_of(recipe, shape) == pytest.approx(knobs)


def test_a_search_starts_from_what_people_made() -> None:
    variants = read_params(PROJECT / PARAMS).variants
    start = start_points(variants, DEMO)
    assert start[0] == uncut(DEMO) and recipe_of(start[0], DEMO) == variants["openvino_int8"]
    assert [recipe_of(knobs, DEMO) for knobs in start[1:]] == [variants["onnx_int8"], variants["fastest"]]


@pytest.mark.parametrize(
    "more",
    [
        {"tokens": {"merged": 0.0551}},
        {"tokens": {"merged": 0.05, "from_layer": 2}},
        {"prune": {"method": "l1_unstructured", "amount": 0.3}},
        {"quantize": {"scheme": "static-int8"}},
        {"vocabulary": {}},
        {"tokens": {"merged": 0.05}, "recover": {"steps": 7}},
        {"side": 32},
    ],
)
def test_what_the_space_lacks_is_no_start(more: dict[str, Any]) -> None:
    plain = {"equalize": True, "runtime": "openvino", "quantize": {"scheme": "static-int8", "float_below_db": 15}}
    assert knobs_of(Recipe.model_validate(plain), DEMO) == uncut(DEMO)
    assert knobs_of(Recipe.model_validate(plain | more), DEMO) is None
