from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.command_line import InputError
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
        ("variants onnx_int8 runtime", "tensorrt", ["variants.onnx_int8.runtime", "openvino"]),
        ("variants baseline", {"quantize": {"scheme": "dynamic-int8"}}, ["can't be named baseline"]),
        ("variants pruned_quantized prune amount", 1.5, ["prune.amount", "less than 1"]),
        ("variants pruned_quantized prune amout", 0.5, ["prune.amout", "Extra inputs"]),
        ("decoding top_k", 5, ["decoding", "set temperature above 0"]),
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


def test_an_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose one of quantized, pruned_quantized"):
        read_params(PROJECT / "params.yaml").recipe("quantised")
