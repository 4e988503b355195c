import itertools
import json
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch import load_model
from stages.optimize import optimize
from stages.setup.params import Recipe, read_params
from stages.sweep.waterfall import HEADINGS, parameters, row, steps
from tests.conftest import PROJECT


def test_each_step_has_one_part_more_until_the_recipe_is_whole() -> None:
    recipe = read_params(PROJECT / "params.yaml").recipe("fastest")
    found = list(steps(recipe).values())
    given = [own.model_dump(exclude_defaults=True) for own in found]
    assert given[0] == {"runtime": "openvino"} and found[-1] == recipe
    for before, after in itertools.pairwise(given):
        assert before.items() <= after.items() and before != after


def test_a_recipe_of_one_part_is_one_sentence() -> None:
    with pytest.raises(InputError, match="a recipe of one part has no steps"):
        steps(Recipe(runtime="onnxruntime"))


def test_parameters_are_the_models_in_each_format(baseline: Path, calibration: Path, tmp_path: Path) -> None:
    model = load_model(baseline)
    own = sum(tensor.numel() for tensor in model.parameters() if tensor.dim() > 1 and max(tensor.shape[1:]) > 1)
    assert parameters(baseline) == pytest.approx(own, rel=0.01)
    optimize(baseline, Recipe(runtime="openvino"), calibration, tmp_path / "graphs")
    # The head's matrix is the embedding's in PyTorch's file, and lies twice in the graphs.
    tied = model.text_decoder.bert.embeddings.word_embeddings.weight.numel()
    assert parameters(tmp_path / "graphs") == pytest.approx(own + tied, rel=0.05)
    optimize(baseline, Recipe(runtime="onnxruntime"), calibration, tmp_path / "onnx")
    with pytest.raises(InputError, match="name a variant of pytorch or openvino"):
        parameters(tmp_path / "onnx")


def test_a_row_has_a_cell_for_each_heading_and_a_dash_for_what_is_not_known(baseline: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine").symlink_to(baseline)
    times = {"speedup": 2, "speedup_ci_low": 1.9, "speedup_ci_high": 2.1, "encode_ms": 3, "token_ms": 0.5}
    times |= {"encode_macs": 10**9, "prefill_macs": 10**7, "token_macs": 10**6, "checkpoint_mb": 5}
    for part, content in (("benchmark", times), ("quality", {"images": 4})):
        (tmp_path / "reports" / part).mkdir(parents=True)
        (tmp_path / "reports" / part / "mine.json").write_text(json.dumps(content))
    cells = row(tmp_path, "mine", "all")
    assert len(cells) == len(HEADINGS)
    assert cells[:2] == ["all", "2.00 (1.90–2.10)"] and cells[6] == "1.02 G"
    assert [cells[2], cells[5], cells[-1]] == ["–", "–", "–"]
