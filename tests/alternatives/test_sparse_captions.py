from pathlib import Path

import pytest

from stages.alternatives.sparse_captions import SHARES, demo_scenes, measure
from stages.alternatives.sparse_page import Cost, Costs
from stages.captioner.command_line import InputError
from stages.dataset import make_dataset
from stages.setup.params import Scenes, read_params
from tests.conftest import save_tiny_model


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> list[Cost]:
    """Of a model that hardly says a word of what it sees: of so many pictures, it has a CIDEr above 0."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder / "model")
    make_dataset(Scenes(kind="scenes", evaluation=24, calibration=2), folder / "eval", folder / "calibration")
    return list(measure(folder / "model", folder / "eval", folder / "calibration"))


def test_each_method_is_tried_in_the_patterns_that_it_has(costs: list[Cost]) -> None:
    tried = {(cost.method, cost.zeros) for cost in costs}
    assert tried == {
        *((method, zeros) for method in ("L1", "Wanda", "SparseGPT") for zeros in ("anywhere", "2:4")),
        ("L1", "blocks"),
        ("Wanda", "blocks"),
    }
    assert {cost.share for cost in costs if cost.zeros == "anywhere"} == set(SHARES)
    assert Costs.model_validate_json(Costs(pictures=24, costs=costs).model_dump_json()).costs == costs


def test_more_zeros_change_more_of_what_is_said_next(costs: list[Cost]) -> None:
    for method in ("L1", "Wanda"):
        few, *_, many = (cost.kl for cost in costs if (cost.method, cost.zeros) == (method, "anywhere"))
        assert 0 < few < many


def test_a_captioner_that_says_nothing_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model", seed=1)
    make_dataset(Scenes(kind="scenes", evaluation=2, calibration=1), tmp_path / "eval", tmp_path / "calibration")
    with pytest.raises(InputError, match="take a trained captioner"):
        list(measure(tmp_path / "model", tmp_path / "eval", tmp_path / "calibration"))


def test_the_demo_s_pictures_are_drawn_scenes() -> None:
    params = read_params()
    assert demo_scenes(params) == params.models["demo"].dataset
    with pytest.raises(InputError, match="no model `demo`"):
        demo_scenes(params.model_copy(update={"models": {}}))
