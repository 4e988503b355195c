"""Drafts in graphs whose numbers are floats, as tests/test_draft.py tries them in int8."""

from pathlib import Path

import pytest

from tests.conftest import Build
from tests.test_draft import (  # noqa: F401  (tried with the checkpoints below)
    test_captions_are_the_same_and_known_ones_take_fewer_steps,
    test_guesses_end_where_the_decoder_has_no_more_positions,
)


@pytest.fixture(params=["onnx", "openvino"])
def with_drafts(request: pytest.FixtureRequest, build_demo: Build) -> Path:
    return build_demo(request.param)
