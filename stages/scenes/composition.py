"""The little world of the embedded demo captioner: what a scene may hold.

A scene has a main thing, mostly a second one in a relation to it, perhaps a third in the background, at a place, in
some light. A thing may be several of a kind. `compose` invents a scene from a seed, `stages.scenes.wording` describes
it and tells whether a caption of it is right, `stages.scenes.drawing` paints it.
"""

import random
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from stages.captioner.command_line import InputError, explain

Split = Literal["training", "held_out"]
Habitat = Literal["outdoors", "indoors", "anywhere"]
Relation = Literal["", "left_of", "right_of", "behind", "in_front_of", "on", "under", "above", "holding"]

PAINT = ("red", "yellow", "green", "blue", "white")
CLOTH = ("red", "yellow", "green", "blue", "purple", "orange", "pink")
FUR = ("brown", "black", "white", "gray")
TIMBER = ("brown", "white", "black", "green")
PATTERNS = ("striped", "dotted")


@dataclass(frozen=True)
class Kind:
    """A kind of thing: its usual height as a share of the picture's, the colors it may have (none: no word for it)."""

    height: float
    colors: tuple[str, ...]
    habitat: Habitat = "anywhere"
    patterned: bool = False
    most: int = 3


# In the order in which people name them: of two things side by side, the first is the one that a caption starts with.
KINDS: dict[str, Kind] = {
    "man": Kind(0.46, CLOTH, patterned=True),
    "woman": Kind(0.44, CLOTH, patterned=True),
    "boy": Kind(0.34, CLOTH, patterned=True),
    "girl": Kind(0.33, CLOTH, patterned=True),
    "elephant": Kind(0.40, (), "outdoors", most=2),
    "horse": Kind(0.35, ("brown", "black", "white"), "outdoors", most=2),
    "cow": Kind(0.29, ("brown", "black", "white"), "outdoors", patterned=True),
    "sheep": Kind(0.22, ("white", "gray", "brown"), "outdoors", most=4),
    "pig": Kind(0.20, (), "outdoors", most=4),
    "dog": Kind(0.22, FUR, patterned=True, most=4),
    "cat": Kind(0.20, ("black", "white", "gray", "orange"), patterned=True, most=4),
    "rabbit": Kind(0.17, ("white", "gray", "brown"), most=4),
    "duck": Kind(0.15, ("white", "yellow", "brown"), "outdoors", most=4),
    "bird": Kind(0.14, ("red", "blue", "yellow", "black"), most=4),
    "car": Kind(0.21, PAINT, "outdoors"),
    "bus": Kind(0.31, PAINT, "outdoors", most=2),
    "truck": Kind(0.28, PAINT, "outdoors", most=2),
    "train": Kind(0.24, ("red", "green", "blue", "black"), "outdoors", most=1),
    "airplane": Kind(0.18, ("white", "red", "blue"), "outdoors"),
    "boat": Kind(0.26, ("white", "red", "blue"), "outdoors"),
    "bicycle": Kind(0.23, PAINT[:4], "outdoors"),
    "house": Kind(0.44, ("white", "red", "yellow", "blue"), "outdoors", most=2),
    "tent": Kind(0.29, ("red", "green", "blue", "orange"), "outdoors", patterned=True),
    "snowman": Kind(0.32, (), "outdoors"),
    "sofa": Kind(0.24, CLOTH, "indoors", patterned=True, most=2),
    "bed": Kind(0.24, CLOTH, "indoors", patterned=True, most=1),
    "table": Kind(0.25, TIMBER),
    "bench": Kind(0.20, TIMBER, "outdoors"),
    "chair": Kind(0.27, (*TIMBER, "red", "blue"), patterned=False),
    "lamp": Kind(0.26, ("yellow", "red", "blue", "white"), "indoors", patterned=True),
    "umbrella": Kind(0.28, CLOTH, patterned=True),
    "balloon": Kind(0.24, CLOTH, patterned=True, most=4),
    "kite": Kind(0.24, CLOTH, "outdoors", patterned=True),
    "guitar": Kind(0.26, ("brown", "red", "black", "white")),
    "suitcase": Kind(0.19, ("brown", "red", "blue", "black"), patterned=True),
    "cake": Kind(0.16, ("white", "pink", "brown")),
    "vase": Kind(0.18, PAINT, patterned=True),
    "bottle": Kind(0.17, ("green", "brown", "blue"), most=4),
    "cup": Kind(0.12, PAINT, patterned=True, most=4),
    "clock": Kind(0.16, ("red", "blue", "black", "brown")),
    "ball": Kind(0.13, CLOTH, patterned=True, most=4),
    "book": Kind(0.13, ("red", "blue", "green", "brown"), most=4),
    "hat": Kind(0.12, ("black", "brown", "red", "white"), patterned=True),
    "banana": Kind(0.10, (), most=4),
    "apple": Kind(0.11, ("red", "green", "yellow"), most=4),
    "flower": Kind(0.19, ("red", "yellow", "white", "purple"), most=4),
    "mushroom": Kind(0.14, ("red", "brown", "orange"), "outdoors", most=4),
    "cactus": Kind(0.26, ()),
    "tree": Kind(0.52, (), "outdoors"),
    "streetlight": Kind(0.50, (), "outdoors"),
}
PEOPLE = ("man", "woman", "boy", "girl")

# What may lie or sit on what, and at which share of its height.
SURFACES: dict[str, float] = {
    "table": 0.97,
    "bench": 0.60,
    "bed": 0.60,
    "sofa": 0.52,
    "chair": 0.48,
    "car": 0.96,
    "suitcase": 0.84,
    "elephant": 0.94,
}
ON_SURFACES = (
    *("cat", "rabbit", "bird", "duck", "guitar", "suitcase", "cake", "vase", "bottle", "cup", "clock", "ball"),
    *("book", "hat", "banana", "apple", "lamp", "dog"),
)
MOUNTS = ("horse", "bicycle", "elephant")  # which people ride
ROOFS = ("tree", "table", "umbrella")
UNDER_ROOFS = ("dog", "cat", "rabbit", "duck", "ball", "suitcase", "book", "mushroom", "pig", "sheep", "guitar", "cake")
FLYING = ("bird", "airplane", "balloon", "kite")
HELD = ("umbrella", "balloon", "kite", "flower", "suitcase", "guitar")
SIDEWAYS: tuple[Relation, ...] = ("left_of", "right_of", "behind", "in_front_of")
RELATION_WEIGHTS: dict[Relation, int] = {
    "left_of": 16,
    "right_of": 16,
    "behind": 12,
    "in_front_of": 12,
    "on": 16,
    "under": 9,
    "above": 9,
    "holding": 10,
}

OUTDOORS = ("park", "beach", "street", "snow", "desert")
INDOORS = ("kitchen", "bedroom", "library", "cellar")
LIGHTS: dict[str, int] = {"day": 40, "night": 24, "rain": 20, "fog": 16}
LIGHTS_INDOORS: dict[str, int] = {"day": 60, "dim": 40}
COUNT_WEIGHTS = (74, 13, 9, 4)
ALONE_IN_TRAINING = 0.15  # of the training scenes, which teach what the kinds look like
BACKGROUND_HEIGHT = 0.23  # so high must a kind be to be seen in the background


@dataclass(frozen=True)
class Thing:
    """One thing in a scene, or several of a kind: a key of `KINDS`, one of its colors, a pattern or none."""

    kind: str
    color: str = ""
    pattern: str = ""
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """What a picture shows: the main thing, its relation to the second, if there is one, and one in the background."""

    things: tuple[Thing, ...]
    relation: Relation
    place: str
    light: str


SCENES = "scenes.json"
_LIST = TypeAdapter(list[Scene])


def write_scenes(scenes: list[Scene], folder: Path) -> None:
    """Writes what the pictures of a folder show, in their order."""
    (folder / SCENES).write_bytes(_LIST.dump_json(scenes, indent=1) + b"\n")


def read_scenes(folder: Path) -> list[Scene]:
    """What the pictures of a folder show, in their order; nothing if they are no drawn scenes.

    Raises InputError if the file is not what the stage `dataset` writes.
    """
    path = folder / SCENES
    try:
        return _LIST.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise InputError(
            f"{path} is of another form ({explain(error)}): make it anew with `dvc repro -f dataset`"
        ) from None


def is_held_out(things: tuple[Thing, ...]) -> bool:
    """Whether no training scene has these two main things in these colors.

    That is so for a twentieth of all combinations. They can only be described by a captioner that has learned the
    parts rather than the pictures.
    """
    combination = [(thing.kind, thing.color) for thing in things[:2]]
    return len(things) > 1 and zlib.crc32(repr(combination).encode()) % 20 == 0


def compose(seed: int, split: Split) -> Scene:
    """The scene of this seed: a held-out combination of things, or in training anything else, also one thing alone."""
    dice = random.Random(f"{split} {seed}")
    while True:
        outdoors = dice.random() < 0.6
        relation, things = _choose_things(dice, split, outdoors)
        if is_held_out(things) == (split == "held_out"):
            break
    lights = LIGHTS if outdoors else LIGHTS_INDOORS
    place = dice.choice(OUTDOORS if outdoors else INDOORS)
    (light,) = dice.choices([*lights], [*lights.values()])
    return Scene(things, relation, place, "day" if (place, light) == ("snow", "rain") else light)


def _choose_things(dice: random.Random, split: Split, outdoors: bool) -> tuple[Relation, tuple[Thing, ...]]:
    here = [kind for kind in KINDS if KINDS[kind].habitat in ("anywhere", "outdoors" if outdoors else "indoors")]
    if split == "training" and dice.random() < ALONE_IN_TRAINING:
        return "", (_thing(dice, dice.choice(here)),)
    (relation,) = dice.choices([*RELATION_WEIGHTS], [*RELATION_WEIGHTS.values()])
    if relation == "above" and not outdoors:
        relation = "on"
    first, second = _choose_pair(dice, relation, here)
    single = relation == "holding" or (relation == "on" and first in PEOPLE)
    things: tuple[Thing, ...] = (
        _thing(dice, first, 1 if single else 4),
        _thing(dice, second, _most_of_second(relation)),
    )
    if dice.random() < 0.3:
        behind = [kind for kind in here if KINDS[kind].height >= BACKGROUND_HEIGHT and kind not in (first, second)]
        things += (Thing(kind := dice.choice(behind), dice.choice(KINDS[kind].colors or ("",))),)
    return relation, things


def _choose_pair(dice: random.Random, relation: Relation, here: list[str]) -> tuple[str, str]:
    """The kinds of the two main things."""
    if relation in SIDEWAYS:
        first, second = sorted(dice.sample(here, 2), key=[*KINDS].index)
        return first, second
    pairs: dict[Relation, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "on": (ON_SURFACES, tuple(SURFACES)) if dice.random() < 0.8 else (PEOPLE, MOUNTS),
        "under": (UNDER_ROOFS, ROOFS),
        "above": (FLYING, tuple(kind for kind in here if kind not in FLYING and KINDS[kind].height < 0.44)),
        "holding": (PEOPLE, HELD),
    }
    while True:
        first, second = (dice.choice([kind for kind in kinds if kind in here] or [""]) for kinds in pairs[relation])
        if not first or not second:  # nobody rides indoors
            return _choose_pair(dice, relation, here)
        if first != second and _fits(relation, first, second):
            return first, second


def _fits(relation: Relation, first: str, second: str) -> bool:
    if relation == "on" and first not in PEOPLE:
        return KINDS[first].height <= 1.05 * KINDS[second].height or second == "table"
    return relation != "under" or second == "tree" or KINDS[first].height <= 0.20


def _most_of_second(relation: Relation) -> int:
    return 3 if relation in ("left_of", "right_of", "above") else 1


def _thing(dice: random.Random, kind: str, most: int = 4) -> Thing:
    own = KINDS[kind]
    count = min(own.most, most, dice.choices((1, 2, 3, 4), COUNT_WEIGHTS)[0])
    pattern = dice.choice(PATTERNS) if own.patterned and dice.random() < 0.35 else ""
    return Thing(kind, dice.choice(own.colors or ("",)), pattern, count)
