"""Recipes that were found, into params.yaml: people's own lines and comments stay as they are."""

import io
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from stages.captioner.command_line import read_text
from stages.page.searches import FOUND
from stages.records.metrics import write_text
from stages.setup.params import Recipe, read_params


class _Representer(RoundTripRepresenter):
    """Writes null as such: ruamel.yaml leaves it out."""


def _null(representer: RoundTripRepresenter, _: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _null)


def write_variants(found: Mapping[str, Recipe], path: Path) -> None:
    """Puts recipes among the variants, in place of those that an earlier search found. Raises InputError as
    `read_params` does."""
    read_params(path)
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(read_text(path))
    for name in FOUND:
        document["variants"].pop(name, None)
    document["variants"].update({name: _in_lines(recipe) for name, recipe in found.items()})
    text = io.StringIO()
    yaml.dump(document, text)
    write_text(text.getvalue(), path)


def _in_lines(recipe: Recipe) -> CommentedMap:
    """A recipe with a line for each of its keys. The last is a mapping, `quantize`, so that what follows the variants
    in the file, such as an empty line, is for ruamel.yaml no part of it."""
    lines = CommentedMap(recipe.model_dump(mode="json", exclude_defaults=True))
    for key, value in lines.items():
        if isinstance(value, dict):
            lines[key] = CommentedMap(value)
            lines[key].fa.set_flow_style()
    return lines
