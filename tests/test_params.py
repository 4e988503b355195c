from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.params import FolderSource, HubSource, UntrainedSource, read_params
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
        ("decoding top_k", 5, ["decoding", "set temperature above 0"]),
        ("accept cider_change_at_least", 0.0, ["accept.cider_change_at_least", "less than 0"]),
        ("accept same_caption_at_least", 1.0, ["accept.same_caption_at_least", "less than 1"]),
        ("accept checkpoint_mb_at_most", 0, ["accept.checkpoint_mb_at_most", "greater than 0"]),
        ("accept cider_at_least", 1, ["accept.cider_at_least", "Extra inputs"]),
        ("accept", None, ["accept", "got None"]),
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
        ("model: demo\nmodel: demo\n", "line 2: the key model is given twice"),
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
