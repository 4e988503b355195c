"""The little world of the embedded demo captioner: what a scene may hold and how people would describe it.

A scene is one thing, or two things in a relation, at a place, in some weather. `compose` invents one from a seed,
`describe` words it, `stages.demo.drawing.draw` paints it.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Split = Literal["training", "held_out"]

PEOPLE = ("man", "woman", "child")
ANIMALS = ("dog", "cat", "horse")
MOTOR_VEHICLES = ("car", "bus")

PAINT = ("red", "blue", "green", "yellow")
FUR = ("brown", "black", "white")
COLORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*PEOPLE, "umbrella", "balloon", "bicycle"), PAINT),
    **dict.fromkeys(ANIMALS, FUR),
    **dict.fromkeys(MOTOR_VEHICLES, (*PAINT, "white")),
    "house": ("white", "red", "yellow"),
    "tree": (),
}

PLACES: dict[str, tuple[str, str]] = {
    "park": ("in the park", "at the park"),
    "beach": ("on the beach", "at the beach"),
    "street": ("on the street", "by the road"),
    "snow": ("in the snow", "on the snow"),
    "field": ("in the field", "in a field"),
}
WEATHERS: dict[str, tuple[str, str]] = {
    "sun": ("", "on a sunny day"),
    "rain": ("in the rain", "on a rainy day"),
    "night": ("at night", "in the moonlight"),
}

# Three ways to say each relation; the first is the one that the captioner is taught to prefer.
RELATIONS: dict[str, tuple[str, str, str]] = {
    "owns": ("and {possessive}", "with {possessive}", "walking {possessive}"),
    "rides": ("riding", "on", "sitting on"),
    "holds": ("holding", "with", "carrying"),
    "under": ("under", "below", "standing under"),
    "in_front_of": ("in front of", "before", "standing in front of"),
    "next_to": ("next to", "beside", "near"),
}
POSSESSIVES = {"man": "his", "woman": "her", "child": "their"}


def _pairs(relation: str, firsts: tuple[str, ...], seconds: tuple[str, ...]) -> dict[tuple[str, str], str]:
    return {(first, second): relation for first in firsts for second in seconds}


# Every combination of two kinds of thing that a scene may show, and how the two are related.
COMBINATIONS: dict[tuple[str, str], str] = {
    **_pairs("owns", PEOPLE, ("dog", "cat")),
    **_pairs("rides", PEOPLE, ("horse", "bicycle")),
    **_pairs("holds", PEOPLE, ("umbrella", "balloon")),
    **_pairs("under", (*PEOPLE, *ANIMALS), ("tree",)),
    **_pairs("in_front_of", (*PEOPLE, *ANIMALS, *MOTOR_VEHICLES), ("house",)),
    **_pairs("next_to", (*PEOPLE, *ANIMALS), MOTOR_VEHICLES),
    **_pairs("next_to", (*MOTOR_VEHICLES, "bicycle"), ("tree",)),
    ("man", "woman"): "next_to",
    ("man", "child"): "next_to",
    ("woman", "child"): "next_to",
    ("dog", "cat"): "next_to",
    ("dog", "horse"): "next_to",
    ("cat", "horse"): "next_to",
    ("car", "bus"): "next_to",
}


@dataclass(frozen=True)
class Thing:
    """One thing in a scene: a key of `COLORS` and one of that kind's colors (empty for a tree)."""

    kind: str
    color: str


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `relation` is empty when there is only one thing."""

    things: tuple[Thing, ...]
    relation: str
    place: str
    weather: str


def is_held_out(things: tuple[Thing, ...]) -> bool:
    """Whether training never shows these things together, such as a man in red and a brown dog.

    That is so for a twentieth of all pairs. They can only be described by a captioner that has learned the parts
    rather than the pictures.
    """
    return len(things) == 2 and zlib.crc32(repr(things).encode()) % 20 == 0


def compose(seed: int, split: Split) -> Scene:
    """The scene of this seed: a held-out pair of things, or in training anything else."""
    dice = random.Random(f"{split} {seed}")
    things = _choose_things(dice, split)
    while is_held_out(things) != (split == "held_out"):
        things = _choose_things(dice, split)
    place = dice.choice(list(PLACES))
    return Scene(
        things=things,
        relation=COMBINATIONS[things[0].kind, things[1].kind] if len(things) == 2 else "",
        place=place,
        weather=dice.choice([weather for weather in WEATHERS if (place, weather) != ("snow", "rain")]),
    )


def _choose_things(dice: random.Random, split: Split) -> tuple[Thing, ...]:
    kinds: tuple[str, ...] = dice.choice(list(COMBINATIONS))
    if split == "training" and dice.random() < 0.15:
        kinds = (dice.choice([kind for kind in COLORS if kind not in ("umbrella", "balloon")]),)
    return tuple(Thing(kind, dice.choice(COLORS[kind] or ("",))) for kind in kinds)


def describe(scene: Scene) -> list[str]:
    """Five correct captions of a scene, each worded differently; the first is the one the captioner should prefer."""
    here, there = PLACES[scene.place]
    weather, sky = WEATHERS[scene.weather]
    subject = _detailed(scene.things[0])
    if len(scene.things) == 1:
        plain = _plain(scene.things[0])
        wordings = [
            f"{subject} {here} {weather}",
            f"{plain} {here}",
            f"there is {subject} {there} {sky}",
            f"{subject} seen {sky} {here}",
            f"a picture of {subject} {here} {weather}",
        ]
    else:
        usual, second, third = (_phrase(scene, wording, _detailed) for wording in RELATIONS[scene.relation])
        plain = _phrase(scene, RELATIONS[scene.relation][0], _plain)
        wordings = [
            f"{usual} {here} {weather}",
            f"{plain} {here}",
            f"there is {second} {there} {sky}",
            f"{third} {sky} {here}",
            f"a picture of {usual} {here} {weather}",
        ]
    return [" ".join(wording.split()) for wording in wordings]


def _phrase(scene: Scene, wording: str, name: Callable[[Thing], str]) -> str:
    first, second = scene.things
    if "{possessive}" in wording:
        owned = name(second).removeprefix("a ")
        return f"{name(first)} {wording.format(possessive=POSSESSIVES[first.kind])} {owned}"
    return f"{name(first)} {wording} {name(second)}"


def _detailed(thing: Thing) -> str:
    if thing.kind in PEOPLE:
        return f"a {thing.kind} in {thing.color}"
    return f"a {thing.color} {thing.kind}" if thing.color else f"a {thing.kind}"


def _plain(thing: Thing) -> str:
    return f"an {thing.kind}" if thing.kind == "umbrella" else f"a {thing.kind}"
