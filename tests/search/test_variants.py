from pathlib import Path

import pytest

from stages.page.searches import FOUND
from stages.search.variants import write_variants
from stages.setup.params import PARAMS, Recipe, read_params
from tests.conftest import PROJECT


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    """The project's, without what a search found."""
    path = tmp_path / PARAMS
    path.write_bytes((PROJECT / PARAMS).read_bytes())
    write_variants({}, path)
    return path


def recipe(amount: float) -> Recipe:
    return Recipe.model_validate(
        {
            "tokens": {"merged": amount},
            "equalize": True,
            "runtime": "openvino",
            "quantize": {"scheme": "static-int8", "float_below_db": 15},
        }
    )


def test_found_recipes_are_added_and_no_other_line_changes(params_file: Path) -> None:
    before = params_file.read_text()
    found = {name: recipe(0.01 * number) for number, name in enumerate(FOUND, start=1)}
    write_variants(found, params_file)
    after = params_file.read_text()
    assert [line for line in after.splitlines() if line not in before.splitlines()] == [
        line
        for number, name in enumerate(FOUND, start=1)
        for line in (
            f"  {name}:",
            f"    tokens: {{merged: {0.01 * number:g}}}",
            "    quantize: {scheme: static-int8, float_below_db: 15.0}",
        )
    ]
    assert read_params(params_file).variants == read_params(PROJECT / PARAMS).variants | found


def test_the_next_search_replaces_what_the_last_one_found(params_file: Path) -> None:
    before = params_file.read_text()
    write_variants(dict.fromkeys(FOUND, recipe(0.01)), params_file)
    write_variants({FOUND[0]: recipe(0.02)}, params_file)
    assert [name for name in read_params(params_file).variants if name in FOUND] == [FOUND[0]]
    assert read_params(params_file).recipe(FOUND[0]) == recipe(0.02)
    write_variants({}, params_file)
    assert params_file.read_text() == before
