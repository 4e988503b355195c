"""Where the things of a scene stand in the picture, so that their relations can be seen.

All lengths are shares of the picture's side. x points to the right and y down; a thing stands with the middle of its
foot at (x, y).
"""

import random
from dataclasses import dataclass, replace
from functools import cache

from stages.scenes.composition import FLYING, KINDS, MOUNTS, PEOPLE, SURFACES, Scene, Thing
from stages.scenes.looks import LOOKS

NARROW = 0.42  # what stands beside or behind another takes at most so much of the width
ROOF_SCALES = {"table": 1.3, "umbrella": 1.7, "tree": 1.15}
UNDER_ROOF = {"table": 0.7, "umbrella": 0.48, "tree": 0.38}  # of the roof's height
HELD_HEIGHTS = {"umbrella": 0.75, "balloon": 0.6, "kite": 0.62, "flower": 0.36, "suitcase": 0.3, "guitar": 0.5}

Stroke = tuple[str, str, tuple[float, ...]]


@dataclass(frozen=True)
class Place:
    """Where one thing, or several of a kind side by side, stand: the middle of all, their foot, how high each is."""

    thing: Thing
    look: int
    x: float
    y: float
    height: float
    spacing: float
    mirrored: bool

    @property
    def width(self) -> float:
        """Of all together."""
        return _width(self.thing.kind, self.look) * self.height * (1 + (self.thing.count - 1) * self.spacing)

    @property
    def top(self) -> float:
        """The y of its highest point."""
        return self.y - self.height * _extent(self.thing.kind, self.look)[3]

    def hidden_by(self, other: "Place") -> float:
        """The share of its rectangle that another's covers."""
        across = min(self.x + self.width / 2, other.x + other.width / 2)
        across -= max(self.x - self.width / 2, other.x - other.width / 2)
        down = min(self.y, other.y) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down) / (self.width * (self.y - self.top))


@cache
def strokes(kind: str, look: int) -> tuple[Stroke, ...]:
    """A look's strokes: shape, paint, numbers."""
    words = [stroke.split() for stroke in LOOKS[kind][look].split(";")]
    return tuple((shape, paint, tuple(map(float, numbers))) for shape, paint, *numbers in words)


@cache
def _extent(kind: str, look: int) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a look whose height is 1."""
    across: list[float] = []
    up: list[float] = []
    for shape, _, numbers in strokes(kind, look):
        points = numbers[1:] if shape in ("line", "arc") else numbers
        points = points[:4] if shape in ("round", "arc", "pie") else points
        across += points[::2]
        up += points[1::2]
    return min(across), min(up), max(across), max(up)


@cache
def _width(kind: str, look: int) -> float:
    left, _, right, _ = _extent(kind, look)
    return 2 * max(-left, right)


def arrange(scene: Scene, seed: int) -> list[Place]:
    """The places of all things, those that hide others last."""
    dice = random.Random(f"layout {seed}")
    main = _arrange_main(scene, dice)
    if len(scene.things) < 3:
        return main
    return [_in_the_background(scene.things[2], main, dice), *main]


def _arrange_main(scene: Scene, dice: random.Random) -> list[Place]:
    first, second = (_loose(thing, dice) for thing in (scene.things * 2)[:2])
    if len(scene.things) == 1:
        return [_stand(first, 0.6, dice.uniform(0.3, 0.7), dice)]
    if scene.relation in ("left_of", "right_of"):
        return _side_by_side(first, second, dice, first_is_left=scene.relation == "left_of")
    if scene.relation == "behind":
        return _one_hides_the_other(second, first, dice)
    if scene.relation == "in_front_of":
        return _one_hides_the_other(first, second, dice)
    if scene.relation == "on":
        return _on(first, second, dice)
    if scene.relation == "under":
        return _under(first, second, dice)
    if scene.relation == "above":
        return _above(first, second, dice)
    return _held(first, second, dice)


def _loose(thing: Thing, dice: random.Random) -> Place:
    """A thing with its look and size, to be put somewhere."""
    look = dice.randrange(len(LOOKS[thing.kind]))
    height = KINDS[thing.kind].height * dice.uniform(0.72, 1.3)
    return Place(thing, look, 0.5, 0.9, height, dice.uniform(0.82, 1.1), dice.random() < 0.5)


def _stand(place: Place, widest: float, x: float, dice: random.Random, *, nearest: float = 0.96) -> Place:
    """Puts it near the x on the ground, or in the air if it flies, wholly in the picture and not too wide."""
    place = _narrow(place, widest)
    half = place.width / 2
    y = dice.uniform(0.4, 0.7) if place.thing.kind in FLYING else dice.uniform(0.72, nearest)
    y = max(y, place.height + 0.03)
    return replace(place, x=min(max(x, half + 0.01), 0.99 - half), y=y)


def _narrow(place: Place, widest: float) -> Place:
    return replace(place, height=place.height * min(1.0, widest / place.width))


def _lower(place: Place, highest: float) -> Place:
    return replace(place, height=min(place.height, highest))


def _side_by_side(first: Place, second: Place, dice: random.Random, *, first_is_left: bool) -> list[Place]:
    left, right = (first, second) if first_is_left else (second, first)
    left, right = _narrow(left, NARROW), _narrow(right, NARROW)
    gap = dice.uniform(0.03, 0.12)
    border = dice.uniform(left.width + 0.02 + gap / 2, 0.98 - right.width - gap / 2)
    left = _stand(left, NARROW, border - gap / 2 - left.width / 2 - dice.uniform(0, 0.12), dice)
    right = _stand(right, NARROW, border + gap / 2 + right.width / 2 + dice.uniform(0, 0.12), dice)
    return sorted((left, right), key=lambda place: place.y)


def _one_hides_the_other(front: Place, back: Place, dice: random.Random) -> list[Place]:
    front, back = _narrow(front, NARROW), _narrow(back, NARROW + 0.1)
    side = dice.choice((-1, 1))
    if front.width < 0.7 * back.width:
        apart = dice.uniform(0.0, 0.35) * back.width
    else:
        apart = (front.width + back.width) / 2 - dice.uniform(0.25, 0.5) * min(front.width, back.width)
    span = front.width / 2 + apart + back.width / 2
    left = dice.uniform(0.02, max(0.021, 0.98 - span))
    front_x = left + front.width / 2 if side > 0 else left + span - front.width / 2
    front = replace(front, x=front_x, y=dice.uniform(0.86, 0.96))
    back = replace(back, x=front_x + side * apart, y=front.y - dice.uniform(0.05, 0.1))
    if back.top > front.top and back.hidden_by(front) > 0.5:  # it would be hidden wholly: let it look out
        back = replace(back, x=front_x + side * (front.width + 0.2 * back.width) / 2)
    return [back, front]


def _on(first: Place, second: Place, dice: random.Random) -> list[Place]:
    if first.thing.kind in PEOPLE and second.thing.kind in MOUNTS:
        mount = _stand(_lower(second, 0.34), 0.7, dice.uniform(0.3, 0.7), dice, nearest=0.95)
        rider = replace(_lower(first, 0.34), x=mount.x, y=mount.y - 0.42 * mount.height)
        return [rider, mount]
    support = replace(second, height=second.height * 1.15)
    support = _stand(support, 0.7, dice.uniform(0.3, 0.7), dice)
    above = _narrow(first, 0.8 * support.width)
    free = (support.width - above.width) / 2
    y = support.y - SURFACES[second.thing.kind] * support.height
    return [support, replace(_lower(above, y - 0.02), x=support.x + dice.uniform(-0.7, 0.7) * free, y=y)]


def _under(first: Place, second: Place, dice: random.Random) -> list[Place]:
    kind = second.thing.kind
    roof = _stand(replace(second, height=second.height * ROOF_SCALES[kind]), 0.6, dice.uniform(0.3, 0.7), dice)
    roof = replace(roof, y=dice.uniform(0.84, 0.95))
    below = _narrow(_lower(first, UNDER_ROOF[kind] * roof.height), 0.6 * roof.width)
    below = replace(below, x=roof.x + dice.choice((-0.22, 0.22)) * roof.width, y=roof.y + dice.uniform(0.0, 0.02))
    return [roof, below]


def _above(first: Place, second: Place, dice: random.Random) -> list[Place]:
    below = _stand(_lower(second, 0.34), 0.6, dice.uniform(0.3, 0.7), dice)
    flying = _lower(_narrow(first, 0.55), below.top - 0.08)
    y = max(below.top - dice.uniform(0.04, 0.2), flying.height + 0.02)
    half = flying.width / 2 + 0.01
    return [below, replace(flying, x=min(max(below.x + dice.uniform(-0.08, 0.08), half), 1 - half), y=y)]


def _held(first: Place, second: Place, dice: random.Random) -> list[Place]:
    person = _stand(replace(first, height=first.height * 1.15), 0.5, dice.uniform(0.3, 0.7), dice)
    person = replace(person, y=dice.uniform(0.88, 0.96))
    kind, size = second.thing.kind, person.height
    away, up = {"suitcase": (0.34, 0.14), "guitar": (0.04, 0.28), "umbrella": (0.4, 0.4)}.get(kind, (0.27, 0.44))
    held = replace(second, height=HELD_HEIGHTS[kind] * size, y=person.y - up * size)
    held = _lower(held, held.y - 0.01)
    return [person, replace(held, x=person.x + dice.choice((-1, 1)) * away * size)]


def _in_the_background(thing: Thing, main: list[Place], dice: random.Random) -> Place:
    """Smaller, farther away, and where the others hide the least of it."""
    place = _narrow(_loose(thing, dice), 0.5)
    place = replace(place, height=place.height * 0.72, y=dice.uniform(0.62, 0.68))
    half = place.width / 2 + 0.01
    places = [replace(place, x=dice.uniform(half, 1 - half)) for _ in range(10)]
    return min(places, key=lambda one: sum(one.hidden_by(other) for other in main))
