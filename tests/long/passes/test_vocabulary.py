"""What is said with fewer tokens, in a runtime of either kind."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import load_model, weights
from stages.captioner.runtimes.pytorch_vocabulary import KEPT
from stages.optimize import optimize
from tests.passes.test_vocabulary import RECIPE, TOKENIZER


@pytest.fixture(scope="module")
def checkpoints(baseline: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint of each of two runtimes."""
    folder = tmp_path_factory.mktemp("fewer")
    for runtime in ("pytorch", "onnxruntime"):
        optimize(baseline, RECIPE.model_copy(update={"runtime": runtime}), calibration, folder / runtime)
    return folder


@pytest.mark.parametrize("decoding", [Decoding(beams=3), Decoding(repetition_penalty=1.5), Decoding(temperature=1)])
def test_a_prompt_of_dropped_words_is_kept_and_only_kept_words_follow(
    decoding: Decoding, checkpoints: Path, pictures: list[Any]
) -> None:
    kept = set(weights(load_model(checkpoints / "pytorch"))[KEPT].tolist())
    for runtime in ("pytorch", "onnxruntime"):
        parts = open_captioner(checkpoints / runtime).parts
        prompt = Tokenizer.from_file(str(TOKENIZER)).encode("beach", add_special_tokens=False).ids
        assert kept.isdisjoint(prompt)
        states = parts.encode(parts.preprocess(pictures))
        asked = decoding.model_copy(update={"prompt": "beach", "top_k": 5 if decoding.temperature else 0})
        for row in parts.decode(states, asked):
            assert row[: len(prompt)] == prompt and kept.issuperset(row[len(prompt) :])
