"""What is beside a model's weights, or in their place, on a Hub."""

import pytest

from tests.conftest import assert_one_sentence
from tests.hub import Hub
from tests.sources.fetching import Fetch
from tests.sources.test_contents import BESIDE, Change


@pytest.mark.parametrize(("change", "parts"), BESIDE)
def test_the_same_is_found_on_a_hub_before_weights_are_fetched(
    fetch: Fetch,
    hub: Hub,
    change: Change,
    parts: tuple[str, ...],
) -> None:
    change(hub.folder)
    assert_one_sentence(fetch(), *parts)
    assert not {name for name in hub.downloaded if not name.endswith((".json", ".txt"))}
