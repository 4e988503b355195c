"""Which knob is swept over which values, checked against the schema of params.yaml before anything runs."""

import copy
import math
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.captioner.command_line import InputError, brief, explain, read_text
from stages.setup.params import PARAMS, Params, parse_yaml, read_params

Number = int | float
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def vary(knob: str, values: str, path: Path = PARAMS) -> dict[Number, Params]:
    """The settings of each value, ascending: all of params.yaml with the knob at this value.

    `knob` is the path of a number in a recipe or in decoding, with dots; `values` are numbers with commas between. A
    whole number is an int where the schema has one. Raises InputError if there is no such knob, if it is no number, or
    if a value is none, is given twice or is refused by the schema.
    """
    keys = knob.split(".")
    params = read_params(path)
    if not (keys[0] == "decoding" and len(keys) == 2) and not (keys[0] == "variants" and len(keys) > 2):
        raise InputError(
            f"KNOB is {brief(knob)}: name a number in a recipe or in decoding, such as decoding.beams or "
            "variants.pruned_quantized.prune.amount"
        )
    if keys[0] == "variants":
        params.recipe(keys[1])
    document = parse_yaml(read_text(path), path)
    settings: dict[Number, Params] = {}
    for text in values.split(","):
        value, own = _check(document, keys, _parse(text.strip()))
        if value in settings:
            raise InputError(f"VALUES has {value} twice: give each value once")
        settings[value] = own
    return dict(sorted(settings.items()))


def _parse(text: str) -> Number:
    if not NUMBER.fullmatch(text):
        raise InputError(f"VALUES has {brief(repr(text))}, which is no number: give numbers such as 0.1,0.3,0.5")
    try:
        return int(text)
    except ValueError:
        if math.isfinite(value := float(text)):
            return value
        raise InputError(f"VALUES has {brief(text)}, which is too large for a number: give a smaller one") from None


def _check(document: dict[str, Any], keys: list[str], value: Number) -> tuple[Number, Params]:
    """The value as the schema has it, and the settings with it."""
    knob = ".".join(keys)
    changed = copy.deepcopy(document)
    try:
        put(changed, keys, value)
        params = Params.model_validate(changed)
    except ValidationError as error:
        raise InputError(f"VALUES has {brief(value)}, which params.yaml can't have: {explain(error)}") from None
    found: Any = params
    for key in keys:
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    if type(found) not in (int, float):
        raise InputError(f"{brief(knob)} is not a number, but such as {brief(found)}: name another knob")
    return found, params


def put(document: dict[str, Any], keys: list[str], value: Number) -> None:
    """Sets a value in nested settings, in place. Raises InputError if a key on the way has a value of its own."""
    group = document
    for key in keys[:-1]:
        if group.get(key) is None:
            group[key] = {}
        group = group[key]
        if not isinstance(group, dict):
            raise InputError(f"{brief('.'.join(keys))} is not there, as {brief(key)} is {brief(group)}: name another")
    group[keys[-1]] = value


def reached(knob: str, params: Params) -> dict[str, list[str]]:
    """The checkpoints that a knob changes, each with the stages of dvc.yaml whose figures change with it."""
    section, name, *_ = knob.split(".")
    variants = list(params.variants) if section == "decoding" else [name]
    stages = {variant: [f"evaluate@{variant}", f"benchmark@{variant}"] for variant in variants}
    return ({"baseline": ["evaluate_baseline", "benchmark_baseline"]} if section == "decoding" else {}) | stages
