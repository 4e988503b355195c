import math
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import ParseError, load_yaml
from dvc.utils.serialize import parse_yaml as parse_as_dvc_does
from hypothesis import example, given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.setup.params import PARAMS, FolderSource, HubSource, UntrainedSource, in_flow_style, parse_yaml, read_params
from tests.conftest import PROJECT


def changed(tmp_path: Path, keys: str, value: Any) -> Path:
    """A copy of params.yaml with one value changed; `keys` are separated by blanks."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    *parents, last = keys.split()
    group = params
    for key in parents:
        group = group[key]
    group[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return path


def test_the_projects_own_params_offer_every_source() -> None:
    params = read_params(PROJECT / "params.yaml")
    assert params.model == "demo"
    sources = {name: type(model.source) for name, model in params.models.items()}
    assert sources == {
        "demo": FolderSource,
        "blip-base": HubSource,
        "blip-large": HubSource,
        "blip-base-untrained": UntrainedSource,
    }


@pytest.mark.parametrize(
    ("keys", "value", "messages"),
    [
        ("model", "blip-huge", ["blip-huge", "choose one of blip-base"]),
        ("models blip-base source", {"hub": "a/b"}, ["models.blip-base.source.hub.revision", "Field required"]),
        ("models blip-base source revision", "main", ["revision", "pattern"]),
        ("models demo source", {"path": "x"}, ["models.demo.source", "hub, folder or untrained"]),
        ("models demo source folder", "/mnt/elsewhere", ["a place of this machine", "data/local"]),
        ("models demo source folder", "data/local/../../secret", ["a place of this machine"]),
        ("models demo dataset kind", "flickr", ["models.demo.dataset", "scenes"]),
        ("variants quantized", {}, ["variants.quantized", "the recipe is empty"]),
        ("variants quantized quantize scheme", "int3", ["variants.quantized.quantize.scheme", "int3"]),
        ("variants quantized quantize scheme", "static-int8", ["pytorch has no static-int8", "runtime openvino"]),
        ("variants quantized quantize weight_bits", 7, ["weight_bits", "PyTorch's int8 always has 8"]),
        ("variants onnx_int8 quantize weight_bits", 9, ["weight_bits", "7 or 8"]),
        ("variants onnx_int8 quantize dynamic_quantization_group", 32, ["is for openvino, not for onnxruntime"]),
        ("variants openvino_int8 quantize dynamic_quantization_group", 33, ["dynamic_quantization_group", "33"]),
        ("variants onnx_int8 quantize encoder_product", "matmul", ["encoder_product is for openvino's static-int8"]),
        (
            "variants openvino_int8 quantize",
            {"scheme": "dynamic-int8", "weight_bits": 8},
            ["weight_bits is for int8 activations", "leave it out"],
        ),
        ("variants onnx_int8 runtime", "tensorrt", ["variants.onnx_int8.runtime", "openvino"]),
        ("variants baseline", {"quantize": {"scheme": "dynamic-int8"}}, ["share the folder models/baseline"]),
        ("variants Quantized", {"quantize": {"scheme": "dynamic-int8"}}, ["Quantized", "share the folder"]),
        ("variants pruned_quantized prune amount", 1.5, ["prune.amount", "less than 1"]),
        ("variants pruned_quantized prune amout", 0.5, ["prune.amout", "Extra inputs"]),
        ("variants fastest vocabulary", {"captions": "/srv/captions.txt"}, ["vocabulary.captions", "data/local"]),
        ("variants fastest vocabulary", {"captions": 3}, ["vocabulary.captions", "valid string"]),
        ("variants fastest vocabulary", {"words": ["dog"]}, ["vocabulary.words", "Extra inputs"]),
        ("variants fastest vocabulary", True, ["variants.fastest.vocabulary", "got True"]),
        ("decoding top_k", 5, ["decoding", "set temperature above 0"]),
        ("accept cider_change_at_least", 0.0, ["accept.cider_change_at_least", "less than 0"]),
        ("accept same_caption_at_least", 1.0, ["accept.same_caption_at_least", "less than 1"]),
        ("accept checkpoint_mb_at_most", 0, ["accept.checkpoint_mb_at_most", "greater than 0"]),
        ("accept cider_at_least", 1, ["accept.cider_at_least", "Extra inputs"]),
        ("accept", None, ["accept", "got None"]),
        ("benchmark seconds", float("inf"), ["benchmark.seconds", "finite number"]),
        ("search minutes", float("inf"), ["search.minutes", "finite number"]),
        ("models demo benchmark_seconds", float("inf"), ["benchmark_seconds", "finite number"]),
        ("models demo speedup_within", float("nan"), ["speedup_within", "finite number"]),
        ("benchmark threads", "many", ["benchmark.threads", "many"]),
        ("benchmrak", {}, ["benchmrak", "Extra inputs"]),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, keys: str, value: Any, messages: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read_params(changed(tmp_path, keys, value))
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_yaml_and_an_absent_file_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(InputError, match="run this from the project's top folder"):
        read_params(path)
    path.write_text("model: [")
    with pytest.raises(InputError, match="not valid YAML"):
        read_params(path)


@pytest.mark.parametrize("name", ["blip-v1.5", "con", "LPT1", "-v", "", "a b", "a/b", "..", "é", "a\n", "x" * 300, 7])
@pytest.mark.parametrize("group", ["models", "variants"])
def test_names_are_such_that_dvc_and_every_disk_can_hold_them(tmp_path: Path, group: str, name: Any) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params[group] = {name: next(iter(params[group].values())), **params[group]}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(InputError) as error:
        read_params(path)
    assert f"{group}." in str(error.value)
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_params_are_read_as_editors_write_them(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes((PROJECT / "params.yaml").read_text().replace("\n", "\r\n").encode(encoding))
    assert read_params(path) == read_params(PROJECT / "params.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("model: demo\nmodel: demo\n", 'line 2: found duplicate key "model"'),
        ("model: demo\nmodels:\n\tdemo: {}\n", "line 3"),
        ("model: 2026-99-99", "month must be in"),
        ("!!timestamp x", "not valid YAML"),
        ("!!bool perhaps", "not valid YAML"),
        ('!!int ""', "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
        ("{[a]: b}", "unhashable"),
        ("model: \0", "not valid YAML"),
        ("&a [*a]", "got [["),
        ("&a {model: *a}", "model"),
        ("", "got None"),
        ("x" * 1_000_000, "got 'xxx"),
        ("[" * 100_000, "not valid YAML"),
        ("9" * 10_000, "not valid YAML"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{n}: &{n} [{','.join(['*' + o] * 9)}]\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True)),
            "Field required",
        ),
    ],
    ids=lambda value: value[:20],
)
def test_nonsense_is_one_bounded_sentence(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_params(path)
    assert part in str(error.value)
    assert len(str(error.value)) <= 500 and str(error.value).isprintable()


@given(st.text(alphabet=st.sampled_from("ab-:[]{}&*!|>'\"#%\t\n ,?0x_.")) | st.binary())
def test_no_text_makes_the_reader_fail_otherwise(text: str | bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError):
            read_params(path)


def test_an_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose one of quantized, pruned_quantized"):
        read_params(PROJECT / "params.yaml").recipe("quantised")


# One reading: what DVC takes from params.yaml is what the stages take.

MEANT_OTHERWISE = [
    *("yes", "no", "Yes", "NO", "on", "off", "Off", "ON"),
    *("010", "-010", "+010", "0777", "08", "0o10", "1:30", "190:20:30", "1:30.5"),
    *("!!int 010", "! 010 ", "=", "<<"),
]
MEANT_ALIKE = {
    "yes_and_no": "yes_and_no",
    "y": "y",
    "~": None,
    "1e-05": 1e-5,  # as DVC writes a number that is given by -S
    "1.5e3": 1500.0,
    ".5": 0.5,
    "0x1F": 31,
    "0b11": 3,
    "1_000": 1000,
    ".inf": math.inf,
    '"off"': "off",
    "'010'": "010",
    "!!str 010": "010",
    "!!bool yes": True,
    "2026-11-28": date(2026, 11, 28),
    "2001-12-14t21:59:43.10-05:00": datetime.fromisoformat("2001-12-14T21:59:43.10-05:00"),
}


@pytest.mark.parametrize("written", MEANT_OTHERWISE)
@pytest.mark.parametrize("place", ["{}", "[1, {}]", "{{a: {}}}", "&a {}", "{{{}: 1}}"])
def test_what_dvc_would_read_otherwise_is_refused_by_its_line(written: str, place: str) -> None:
    text = f"model: demo\n# a comment\nkey: {place.format(written)}\nlast: 1\n"
    with pytest.raises(InputError) as error:
        parse_yaml(text, PARAMS)
    assert str(error.value).startswith("params.yaml") and "line 3: " in str(error.value)


@pytest.mark.parametrize("written", MEANT_ALIKE)
def test_what_dvc_reads_alike_is_taken(written: str) -> None:
    text = f"key: {written}\n"
    assert parse_yaml(text, PARAMS) == parse_as_dvc_does(text, "") == {"key": MEANT_ALIKE[written]}


@pytest.mark.parametrize("value", ["010", "1:30", "off"])
def test_the_projects_own_knobs_are_refused_by_their_line(tmp_path: Path, value: str) -> None:
    lines = (PROJECT / "params.yaml").read_text().splitlines()
    number = lines.index("    benchmark_seconds: 180")
    lines[number] = f"    benchmark_seconds: {value}"
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"line {number + 1}: {value} is .*: write"):
        read_params(path)


def alike(one: Any, other: Any) -> bool:
    """Equal in kind, too, where True == 1 == 1.0."""
    if type(one) is not type(other) and not isinstance(one, dict | datetime):
        return False
    if isinstance(one, dict):
        kinds = {(type(key), key) for key in one} == {(type(key), key) for key in other}
        return kinds and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) or (one != one and other != other)


SCALARS = st.sampled_from([*MEANT_OTHERWISE, *MEANT_ALIKE, "a b", "1", "true", "x: y", "- x", "*a", "&a 1", "{", "|"])
NUMBERS = st.text(alphabet="0123456789+-.:_exob", min_size=1, max_size=8)
TREES = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(inner, inner, max_size=3).map(
            lambda items: f"{{{', '.join(f'{key}: {value}' for key, value in items.items())}}}"
        )
    ),
    max_leaves=6,
)
DOCUMENTS = st.lists(st.tuples(SCALARS, TREES), max_size=4).map(
    lambda lines: "".join(f"{key}: {value}\n" for key, value in lines)
) | st.text(alphabet=st.sampled_from("ab-:[]{}&*!|>'\"#%\t\n ,?0x_.=<~"))


@given(DOCUMENTS)
@example("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")
@example("a: &a {x: 1}\nb: {<<: [*a, {y: 3}], x: 2}\n")
@example("%YAML 1.1\n---\na: off\n")
@example("a: &x 1\nb: &x 2\nc: *x\n")
def test_whatever_is_taken_is_what_dvc_reads_and_what_yaml_1_1_reads(text: str) -> None:
    try:
        taken = parse_yaml(text, PARAMS)
    except InputError:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(text.encode())
        try:
            assert alike(taken or {}, load_yaml(str(path)))
        except ParseError:
            raise AssertionError("DVC can't read this") from None
    old = yaml.safe_load(text)
    assert alike(taken, old) or alike(taken, with_floats(old))


def with_floats(content: Any) -> Any:
    """With the numbers that YAML 1.1 takes for text, as it wants a sign in the exponent, and DVC writes without."""
    if isinstance(content, dict):
        return {with_floats(key): with_floats(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(with_floats, content))
    number = isinstance(content, str) and ("e" in content or content.startswith(("+.", "-.")))
    try:
        return float(content) if number else content
    except ValueError:
        return content


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("benchmark.seconds=1e-5", 1e-5),
        ("benchmark.seconds=0.00001", 1e-5),
        ("benchmark.seconds=0.5", 0.5),
        ("benchmark.rounds=1:30", None),
        ("decoding.prompt=off", None),
        ("variants.onnx_int8.equalize=off", None),
        ("variants.onnx_int8.equalize=true", True),
        ("variants.onnx_int8.equalize=True", True),
        ("decoding.prompt=a picture of", "a picture of"),
    ],
)
def test_what_is_given_by_dvc_exp_run_is_what_the_stages_take_or_refused(
    tmp_path: Path, override: str, value: Any
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text())
    apply_overrides(path, [override])
    keys, _, given = override.partition("=")
    as_dvc_reads: Any = load_yaml(str(path))
    try:
        as_stages_read: Any = read_params(path)
    except InputError as error:
        assert value is None and "line " in str(error)
        return
    for key in keys.split("."):
        as_dvc_reads = as_dvc_reads[key]
        as_stages_read = as_stages_read[key] if isinstance(as_stages_read, dict) else getattr(as_stages_read, key)
    assert as_dvc_reads == as_stages_read
    assert value is None or as_stages_read == value, given


@pytest.mark.parametrize("variant", read_params(PROJECT / "params.yaml").variants)
def test_a_recipes_values_in_one_line_are_what_params_yaml_would_read(variant: str) -> None:
    recipe = read_params(PROJECT / "params.yaml").recipe(variant).model_dump(mode="json", exclude_defaults=True)
    assert yaml.safe_load(in_flow_style(recipe)) == recipe
