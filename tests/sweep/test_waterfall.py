import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.pytorch import load_model
from stages.page.waterfalls import Step, Waterfall
from stages.records.examples import PICTURES
from stages.records.metrics import read_metrics, write_metrics
from stages.records.provenance import MADE_BY, digest_code, of_run
from stages.setup.params import Recipe, read_params
from stages.sweep.waterfall import added_parts, check_caps, file_name, gather, parameters, steps
from tests.conftest import PROJECT, Build
from tests.page.pages import HOST, WHOSE


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with what its mappings hold beside what it holds itself."""
    inner = {
        f"{key}.{name}": own for key, value in recipe.items() if isinstance(value, dict) for name, own in value.items()
    }
    return {key: value for key, value in recipe.items() if not isinstance(value, dict)} | inner


def test_each_step_has_one_part_more_until_the_recipe_is_whole() -> None:
    recipe = read_params(PROJECT / "params.yaml").recipe("fastest")
    assert recipe.quantize
    recipe = recipe.model_copy(update={"quantize": recipe.quantize.model_copy(update={"decoder_weight_bits": 4})})
    found = list(steps(recipe).values())
    given = [own.model_dump(exclude_defaults=True) for own in found]
    assert given[0] == {"runtime": "openvino"} and found[-1] == recipe
    for before, after in itertools.pairwise(given):
        assert flat(before).items() <= flat(after).items() and before != after


def test_a_recipe_of_one_part_is_one_sentence() -> None:
    with pytest.raises(InputError, match="a recipe of one part has no steps"):
        steps(Recipe(runtime="onnxruntime"))


@pytest.mark.parametrize("variant", read_params(PROJECT / "params.yaml").variants)
def test_every_part_is_added_once_and_may_stand_in_a_file(variant: str) -> None:
    recipe = read_params(PROJECT / "params.yaml").recipe(variant)
    try:
        parts = added_parts(steps(recipe))
    except InputError:
        assert len(recipe.model_dump(exclude_defaults=True)) == 1
        return
    added = [part for own in parts.values() for part in own]
    assert parts.pop("baseline") == [] and all(parts.values())
    together: dict[str, Any] = {}
    for part in added:
        together |= flat(yaml.safe_load(part))
    assert together == flat(recipe.model_dump(mode="json", exclude_defaults=True))
    for part in added:
        Step.model_validate(
            {"checkpoint": "a", "added": [part], "speedup": 1, "speedup_ci_low": 1, "speedup_ci_high": 1}
        )


def test_caps_that_an_engine_does_not_know_are_one_sentence() -> None:
    caps = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    with pytest.raises(InputError, match=r"^ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA would keep the baseline from"):
        check_caps(Recipe(runtime="onnxruntime"), caps)
    check_caps(Recipe(runtime="onnxruntime"), {"ONEDNN_MAX_CPU_ISA": "ALL"})
    check_caps(Recipe(runtime="openvino"), caps)


def test_parameters_are_the_models_in_each_format(baseline: Path, build: Build) -> None:
    model = load_model(baseline)
    own = sum(tensor.numel() for tensor in model.parameters() if tensor.dim() > 1 and max(tensor.shape[1:]) > 1)
    assert parameters(baseline) == pytest.approx(own, rel=0.01)
    # The head's matrix is the embedding's in PyTorch's file, and lies twice in the graphs.
    tied = model.text_decoder.bert.embeddings.word_embeddings.weight.numel()
    for name in ("openvino", "openvino_int8", "onnx", "onnx_int8"):
        assert parameters(build(name)) == pytest.approx(own + tied, rel=0.05), name


def test_parameters_are_counted_without_the_weights(build: Build, tmp_path: Path) -> None:
    shutil.copytree(build("onnx_int8"), tmp_path / "graphs")
    for file in (tmp_path / "graphs").glob("*.data"):
        file.unlink()
    assert parameters(tmp_path / "graphs") == parameters(build("onnx_int8"))


# What is kept

TIMES = {"speedup": 2, "speedup_ci_low": 1.9, "speedup_ci_high": 2.1, "encode_ms": 3, "token_ms": 0.5, "sessions": 4}
TIMES |= {"encode_macs": 10**9, "prefill_macs": 10**7, "token_macs": 10**6, "checkpoint_mb": 5}
PARTS = {"baseline": [], "step1_openvino": ["runtime: openvino"]}


@pytest.fixture
def checkout(baseline: Path, build: Build, tmp_path: Path) -> Path:
    """What the stages leave of two steps, timed on another machine than this."""
    folder = tmp_path / "checkout"
    (folder / "models").mkdir(parents=True)
    (folder / "models/baseline").symlink_to(baseline)
    (folder / "models/step1_openvino").symlink_to(build("openvino"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder / name)
    shutil.copytree(PROJECT / "stages", folder / "stages")
    write_metrics(HOST, folder / "reports/host.json")
    write_metrics({"scenes": 1}, folder / PICTURES)
    own = WHOSE.model_copy(update=of_run({}, {}, HOST).model_dump(include={"machine", "host"})).model_dump()
    change = {f"cider_change_share{end}": -0.0035 for end in ("", "_ci_low", "_ci_high")}
    for name in PARTS:
        write_metrics(TIMES | {"provenance": own}, folder / f"reports/benchmark/{name}.json")
        quality = {"images": 4, **(change if name != "baseline" else {}), "provenance": own}
        write_metrics(quality, folder / f"reports/quality/{name}.json")
    return folder


def changed(path: Path, **values: Any) -> None:
    write_metrics(read_metrics(path) | values, path)


def test_a_waterfall_says_whose_it_is_and_each_figure_with_its_interval(checkout: Path) -> None:
    params = read_params(PROJECT / "params.yaml")
    own = gather(checkout, "fastest", params, PARTS)
    assert [step.added for step in own.steps] == [[], ["runtime: openvino"]]
    first, last = (step.model_dump() for step in own.steps)
    expected = {key: value for key, value in TIMES.items() if "macs" not in key and key != "sessions"}
    assert first == expected | {
        "checkpoint": "baseline",
        "added": [],
        "caption_gmacs": 1.019,
        "parameters_m": parameters(checkout / "models/baseline") / 1e6,
    }
    assert last["cider_change_share_ci_low"] == -0.0035
    assert own.whose() == "demo on A CPU 1/2/3 avx2 x2"
    assert own.provenance.code == digest_code(*MADE_BY) and own.provenance.weights == WHOSE.weights
    (checkout / "stages/benchmark.py").write_text("# other code")
    digest_code.cache_clear()
    assert gather(checkout, "fastest", params, PARTS).provenance.code != own.provenance.code


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("benchmark", {"provenance": WHOSE.model_dump()}, "with other versions of a system or library: run this again"),
        ("quality", {"provenance": {}}, "doesn't say whose figures it holds"),
        ("benchmark", {"speedup": None}, "the figures of step1_openvino can't be used (speedup: Input should be"),
        ("benchmark", {"encode_ms": float("nan")}, "can't be used (encode_ms: Input should be a finite number"),
        ("benchmark", {"encode_ms_ci_low": "1"}, "can't be used (encode_ms_ci_low: Input should be a valid number"),
    ],
)  # fmt: skip
def test_figures_that_can_not_be_kept_are_one_sentence(
    checkout: Path, part: str, values: dict[str, Any], said: str
) -> None:
    changed(checkout / f"reports/{part}/step1_openvino.json", **values)
    with pytest.raises(InputError, match=re.escape(said)):
        gather(checkout, "fastest", read_params(PROJECT / "params.yaml"), PARTS)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("AMD EPYC 26/2/1 avx512_bf16 x2", "demo.fastest.amd-epyc-26-2-1-avx512_bf16-x2.json"),
        (
            "AMD EPYC 26/2/1 avx512_bf16 x2 capped: onednn avx2, ov avx2",
            "demo.fastest.amd-epyc-26-2-1-avx512_bf16-x2-capped-onednn-avx2-ov-avx2.json",
        ),
        ("../../etc/passwd", "demo.fastest.etc-passwd.json"),
    ],
)
def test_each_machine_model_and_variant_has_its_file(machine: str, name: str) -> None:
    step = Step(checkpoint="baseline", added=[], speedup=1, speedup_ci_low=1, speedup_ci_high=1)
    provenance = WHOSE.model_copy(update={"machine": machine})
    assert file_name(Waterfall(variant="fastest", steps=[step], provenance=provenance)) == name
