"""What a search needs; whole studies are in tests/long/search."""

import re
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.records.examples import SEARCH
from stages.search.trials import check_pictures
from stages.setup.params import PARAMS, read_params
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("blip-base", "the photographs of blip-base are too few to judge captions on"),
        ("demo", "there are no pictures to search on: say how many in params.yaml"),
    ],
)
def test_without_pictures_of_its_own_a_search_is_one_sentence(tmp_path: Path, model: str, said: str) -> None:
    params = read_params(PROJECT / PARAMS).model_copy(update={"model": model})
    (tmp_path / SEARCH).mkdir(parents=True)
    (tmp_path / SEARCH / "captions.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match=re.escape(said)):
        check_pictures(params, tmp_path / SEARCH)
