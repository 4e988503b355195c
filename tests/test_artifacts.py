"""What dvc.yaml says of the checkpoints that others get by name."""

import tomllib

import yaml

from stages.page import searches
from stages.setup.params import Recipe, read_params
from tests.conftest import PROJECT

ARTIFACTS = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["artifacts"]
# What `make search` finds is for one machine, and replaced by the next search: nobody gets it by name.
FOUND = set(searches.FOUND)
EXTRAS = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}


def labels(recipe: Recipe) -> list[str]:
    done = {
        "fewer-tokens": recipe.vocabulary,
        "merged": recipe.tokens,
        "shortened": recipe.shorten,
        "pruned": recipe.prune,
        "equalized": recipe.equalize,
        "recovered": recipe.recover,
        recipe.quantize.scheme if recipe.quantize else "": recipe.quantize,
    }
    return ["image-captioning", "cpu", recipe.runtime, *(label for label, settings in done.items() if settings)]


def test_every_variant_that_people_made_is_an_artifact_that_tells_its_recipe_and_what_it_runs_with() -> None:
    variants = read_params(PROJECT / "params.yaml").variants
    assert ARTIFACTS.keys() == variants.keys() - FOUND
    package = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, artifact in ARTIFACTS.items():
        recipe = variants[name]
        extra = EXTRAS[recipe.runtime]
        assert extra in package["optional-dependencies"]
        assert artifact == {
            "path": f"models/{name}",
            "type": "model",
            "desc": artifact["desc"],
            "labels": labels(recipe),
            "meta": {"install": f"{package['name']}[{extra}]"},
        }
        assert artifact["desc"].startswith("BLIP ")
