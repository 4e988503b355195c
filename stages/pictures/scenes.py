"""The little world of the embedded demo captioner: what a scene may hold and how people would describe it.

A scene is one thing, or two things in a relation, perhaps with a third behind them, at a place, in some weather.
`compose` invents one from a seed, `describe` words it, `stages.pictures.drawing.draw` paints it.
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
    """What a picture shows. `relation` is that of the first two things, empty when there is only one."""

    things: tuple[Thing, ...]
    relation: str
    place: str
    weather: str


def is_held_out(things: tuple[Thing, ...]) -> bool:
    """Whether no training scene shows exactly these two or three things, each in its color.

    That is so for a twentieth of all combinations. They can only be described by a captioner that has learned the
    parts rather than the pictures.
    """
    return len(things) > 1 and zlib.crc32(repr(things).encode()) % 20 == 0


def compose(seed: int, split: Split, most_things: int = 3) -> Scene:
    """The scene of this seed: a held-out combination of things, or in training anything else."""
    dice, background_dice = random.Random(f"{split} {seed}"), random.Random(f"background {split} {seed}")
    while True:
        things = _choose_things(dice, split)
        if most_things == 3 and len(things) == 2:
            things += _choose_background(background_dice, things)
        if is_held_out(things) == (split == "held_out"):
            break
    place = dice.choice(list(PLACES))
    return Scene(
        things=things,
        relation=COMBINATIONS[things[0].kind, things[1].kind] if len(things) > 1 else "",
        place=place,
        weather=dice.choice([weather for weather in WEATHERS if (place, weather) != ("snow", "rain")]),
    )


def _choose_things(dice: random.Random, split: Split) -> tuple[Thing, ...]:
    kinds: tuple[str, ...] = dice.choice(list(COMBINATIONS))
    if split == "training" and dice.random() < 0.15:
        kinds = (dice.choice([kind for kind in COLORS if kind not in ("umbrella", "balloon")]),)
    return tuple(Thing(kind, dice.choice(COLORS[kind] or ("",))) for kind in kinds)


def _choose_background(dice: random.Random, things: tuple[Thing, ...]) -> tuple[Thing, ...]:
    if dice.random() < 0.6:
        return ()
    kind = dice.choice([kind for kind in ("tree", "house") if kind not in {thing.kind for thing in things}])
    return (Thing(kind, dice.choice(COLORS[kind] or ("",))),)


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
        usual, second, third = (
            _phrase(scene, wording, _detailed) + _background(scene, nearness)
            for wording, nearness in zip(RELATIONS[scene.relation], ("near", "beside", "next to"), strict=True)
        )
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
    first, second = scene.things[:2]
    if "{possessive}" in wording:
        owned = name(second).removeprefix("a ")
        return f"{name(first)} {wording.format(possessive=POSSESSIVES[first.kind])} {owned}"
    return f"{name(first)} {wording} {name(second)}"


def _background(scene: Scene, nearness: str) -> str:
    return "".join(f" {nearness} {_detailed(thing)}" for thing in scene.things[2:])


def _detailed(thing: Thing) -> str:
    if thing.kind in PEOPLE:
        return f"a {thing.kind} in {thing.color}"
    return f"a {thing.color} {thing.kind}" if thing.color else f"a {thing.kind}"


def _plain(thing: Thing) -> str:
    return f"an {thing.kind}" if thing.kind == "umbrella" else f"a {thing.kind}"
