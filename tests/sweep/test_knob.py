"""Knobs and values as people type them."""

import math
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.captioner.command_line import LONGEST_MESSAGE, InputError
from stages.setup.params import read_params
from stages.sweep.knob import reached, vary
from tests.conftest import PROJECT

PARAMS = PROJECT / "params.yaml"
few = settings(max_examples=50)
AMOUNT = "variants.pruned_quantized.prune.amount"


def test_each_value_is_all_of_params_with_only_the_knob_changed() -> None:
    changed = vary(AMOUNT, "0.5, 1e-2,.3", PARAMS)
    assert list(changed) == [0.01, 0.3, 0.5]
    prune = changed[0.5].variants["pruned_quantized"].prune
    assert prune and prune.amount == 0.5
    assert changed[0.3] == read_params(PARAMS)
    others = [{**own.variants, "pruned_quantized": None} for own in changed.values()]
    assert others[0] == others[1] == others[2]


def test_the_schema_says_which_numbers_are_whole() -> None:
    assert [repr(value) for value in vary("decoding.beams", "1,4.0", PARAMS)] == ["1", "4"]
    assert [repr(value) for value in vary("decoding.length_penalty", "-1,2", PARAMS)] == ["-1.0", "2.0"]


def test_a_knob_that_is_left_out_of_params_can_be_swept() -> None:
    for value, params in vary("variants.onnx_int8.quantize.weight_bits", "7,8", PARAMS).items():
        quantize = params.variants["onnx_int8"].quantize
        assert quantize and quantize.weight_bits == value


@pytest.mark.parametrize(
    ("knob", "values", "said"),
    [
        ("decoding", "1", "KNOB is decoding"),
        ("benchmark.rounds", "1", "KNOB is benchmark.rounds"),
        ("variants.nope.prune.amount", "0.1", "no variant nope"),
        ("decoding.nope", "1", "decoding.nope"),
        ("decoding.early_stopping", "0,1", "not a number"),
        ("decoding.prompt", "1", "decoding.prompt"),
        ("decoding.beams.more", "1", "KNOB is"),
        ("variants.quantized.prune.amount", "0.1", "variants.quantized.prune.method: Field required"),
        (f"{AMOUNT}.more", "0.1", "amount is 0.3"),
        (AMOUNT, "", "no number"),
        (AMOUNT, "0.1,,0.2", "no number"),
        (AMOUNT, "0.3,0.30", "0.3 twice"),
        (AMOUNT, "0.5,1", "less than 1"),
        (AMOUNT, "nan", "no number"),
        ("decoding.length_penalty", "1e999", "too large"),
        ("decoding.seed", "9" * 5000, "too large"),
    ],
)
def test_what_can_not_be_swept_is_one_sentence(knob: str, values: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        vary(knob, values, PARAMS)
    assert said in str(raised.value) and len(str(raised.value)) <= LONGEST_MESSAGE


@few
@given(st.text() | st.text(alphabet=string.digits + ".,eE+-_ ٣"))
def test_any_text_of_values_is_numbers_or_one_sentence(values: str) -> None:
    try:
        changed = vary("decoding.length_penalty", values, PARAMS)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert [float(text) for text in sorted(values.split(","), key=float)] == list(changed)
        assert all(math.isfinite(value) for value in changed)


@few
@given(st.text() | st.lists(st.sampled_from(["variants", "decoding", "quantized", "__class__", "", "0"])).map(".".join))
def test_any_text_of_a_knob_is_one_sentence(knob: str) -> None:
    with pytest.raises(InputError) as raised:
        vary(knob, "0.1", PARAMS)
    assert len(str(raised.value).splitlines()) == 1


@few
@given(st.lists(st.floats(0.001, 0.999), min_size=1, unique=True))
def test_any_distinct_values_that_the_schema_accepts_are_swept(values: list[float]) -> None:
    changed = vary(AMOUNT, ",".join(map(repr, values)), PARAMS)
    assert list(changed) == sorted(values)


def test_a_recipes_knob_reaches_its_variant_and_decoding_all_checkpoints(tmp_path: Path) -> None:
    document = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    document["variants"] = {name: document["variants"][name] for name in ("quantized", "pruned_quantized")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    params = read_params(tmp_path / "params.yaml")
    assert reached(AMOUNT, params) == {"pruned_quantized": ["evaluate@pruned_quantized", "benchmark@pruned_quantized"]}
    assert list(reached("decoding.beams", params)) == ["baseline", "quantized", "pruned_quantized"]
