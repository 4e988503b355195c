"""What people would say of a scene, and whether what is said of it is right.

The captions are of one small language, so that they can be read back: things, related or not, a place and a light.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, permutations

from stages.scenes.composition import KINDS, PATTERNS, PEOPLE, Relation, Scene, Thing

FEWEST_WORDS, MOST_WORDS = 8, 19

ANIMALS = ("elephant", "horse", "cow", "sheep", "pig", "dog", "cat", "rabbit", "duck", "bird")
VEHICLES = ("car", "bus", "truck")
# Other nouns that people use, and which kinds they may mean.
OTHER_NOUNS: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman"),
    "child": ("boy", "girl"),
    "kid": ("boy", "girl"),
    "animal": ANIMALS,
    "vehicle": VEHICLES,
    "bunny": ("rabbit",),
    "plane": ("airplane",),
    "bike": ("bicycle",),
    "ship": ("boat",),
    "building": ("house",),
    "couch": ("sofa",),
    "seat": ("chair", "bench"),
    "bag": ("suitcase",),
    "pot": ("vase",),
    "mug": ("cup",),
    "cap": ("hat",),
    "fruit": ("apple", "banana"),
    "plant": ("flower", "cactus", "tree"),
}
MEANT: dict[str, tuple[str, ...]] = {**{kind: (kind,) for kind in KINDS}, **OTHER_NOUNS}
PLURALS = {
    "man": "men",
    "woman": "women",
    "snowman": "snowmen",
    "person": "people",
    "child": "children",
    "sheep": "sheep",
}
PLURALS |= {"bus": "buses", "bench": "benches", "couch": "couches", "bunny": "bunnies", "cactus": "cactuses"}
COUNTS = {"two": 2, "three": 3, "four": 4}
COLORS = tuple(sorted({color for kind in KINDS.values() for color in kind.colors}))

# The first way to say it is the one that the captioner is taught to prefer.
PLACES: dict[str, tuple[str, ...]] = {
    "park": ("in a park", "at the park", "on the grass"),
    "beach": ("on a beach", "at the beach", "on the sand by the sea"),
    "street": ("on a street", "by the road", "in the city"),
    "snow": ("in the snow", "on a snowy day", "on snowy ground"),
    "desert": ("in a desert", "in the desert"),
    "kitchen": ("in a kitchen", "in the kitchen", "on a tiled floor"),
    "bedroom": ("in a bedroom", "in the bedroom"),
    "library": ("in a library", "in front of a bookshelf"),
    "cellar": ("in a cellar", "in front of a brick wall"),
}
LIGHTS: dict[str, tuple[str, ...]] = {
    "day": (),
    "night": ("at night", "in the dark", "under the moon"),
    "rain": ("in the rain", "on a rainy day"),
    "fog": ("in the fog", "on a foggy day"),
    "dim": ("in dim light", "in the shadows"),
}
RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left_of": ("to the left of", "left of", "on the left of"),
    "right_of": ("to the right of", "right of", "on the right of"),
    "behind": ("behind", "partly hidden by"),
    "in_front_of": ("in front of", "standing in front of"),
    "on": ("on", "on top of", "sitting on"),
    "under": ("under", "below", "beneath"),
    "above": ("above", "over", "flying over"),
    "holding": ("holding", "carrying"),
}
INVERSES: dict[Relation, Relation] = {
    "left_of": "right_of",
    "right_of": "left_of",
    "behind": "in_front_of",
    "in_front_of": "behind",
    "above": "under",
    "under": "above",
}
TOGETHER = ("near", "and", "with", "next to", "beside", "close to")  # which claim no more than that both are there
BACKGROUND = "in the background"
ON_IT = "on it"
OPENINGS = ("a picture of", "there is", "there are", "a photo of", "a view of")


# Saying


def describe(scene: Scene) -> str:
    """The caption that the captioner should prefer: true, and with all that matters."""
    first = _name(scene.things[0])
    place, light = PLACES[scene.place][0], (LIGHTS[scene.light] or ("",))[0]
    if len(scene.things) == 1:
        return _join(first, place, light)
    pair = _join(first, RELATIONS[scene.relation][0], _name(scene.things[1]))
    if len(scene.things) == 2:
        caption = _join(pair, place, light)
    else:
        caption = _join(pair, TOGETHER[0], _name(scene.things[2]), place)
    return caption if len(caption.split()) <= MOST_WORDS else caption.replace(f" {place}", "")


def refer(scene: Scene, seed: int, count: int = 5) -> list[str]:
    """So many captions as different people would write them, all true: they differ in what they mention."""
    dice = random.Random(f"references {seed}")
    captions: list[str] = []
    while len(captions) < count:
        caption = _by_somebody(scene, dice)
        if FEWEST_WORDS <= len(caption.split()) <= MOST_WORDS and caption not in captions:
            captions.append(caption)
    return captions


def _by_somebody(scene: Scene, dice: random.Random) -> str:
    subject = _what_is_seen(scene, dice)
    place = dice.choice(PLACES[scene.place]) if dice.random() < 0.6 else ""
    light = dice.choice(LIGHTS[scene.light] or ("",)) if dice.random() < 0.5 else ""
    opening = dice.choice(OPENINGS) if dice.random() < 0.3 else ""
    if opening.startswith("there"):
        opening = "there is" if subject.startswith(("a ", "an ")) else "there are"
    return _join(opening, subject, *dice.sample((place, light), 2) if dice.random() < 0.2 else (place, light))


def _what_is_seen(scene: Scene, dice: random.Random) -> str:
    first, *others = (_name_freely(thing, dice) for thing in scene.things)
    if not others:
        return first
    second = others[0]
    related = _join(first, dice.choice(RELATIONS[scene.relation]), second)
    turned = related
    if inverse := INVERSES.get(scene.relation):
        turned = _join(second, dice.choice(RELATIONS[inverse][:2]), first)
    elif scene.relation == "on":
        turned = _join(second, "with", first, ON_IT)
    loosely = _join(first, dice.choice(TOGETHER), second)
    subject: str = dice.choices((related, turned, loosely, first), (22, 20, 28, 30))[0]
    if len(others) == 1 or dice.random() < 0.5:
        return subject
    if dice.random() < 0.5:
        return _join(subject, dice.choice(TOGETHER), others[1])
    return _join(subject, "with", others[1], BACKGROUND)


def _name(thing: Thing) -> str:
    return _phrase(thing, thing.kind, thing.color, thing.pattern, exact=True)


def _name_freely(thing: Thing, dice: random.Random) -> str:
    others = [noun for noun, kinds in OTHER_NOUNS.items() if thing.kind in kinds]
    noun = dice.choice(others) if others and dice.random() < 0.4 else thing.kind
    color = thing.color if dice.random() < 0.5 else ""
    pattern = thing.pattern if dice.random() < 0.5 else ""
    return _phrase(thing, noun, color, pattern, exact=dice.random() < 0.65)


def _phrase(thing: Thing, noun: str, color: str, pattern: str, *, exact: bool) -> str:
    noun = noun if thing.count == 1 else _plural(noun)
    look = _join(pattern, color)
    dressed = thing.kind in PEOPLE and look
    words = _join(noun, "in", look if color else f"{look} clothes") if dressed else _join(look, noun)
    if thing.count == 1:
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    number = next(word for word, count in COUNTS.items() if count == thing.count)
    return f"{number if exact else 'some'} {words}"


def _plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def vocabulary() -> list[str]:
    """Every word of the language, sorted."""
    phrases = [*OPENINGS, *TOGETHER, *COUNTS, *COLORS, *PATTERNS, *MEANT, *PLURALS.values(), BACKGROUND, ON_IT]
    phrases += [phrase for table in (PLACES, LIGHTS, RELATIONS) for own in table.values() for phrase in own]
    phrases += [_plural(noun) for noun in MEANT]
    return sorted({word for phrase in (*phrases, "a an some in clothes") for word in phrase.split()})


# Reading back


@dataclass(frozen=True)
class _Named:
    """What a phrase says of one thing: nothing is claimed of what it leaves empty. `count` 0 is «some»."""

    kinds: tuple[str, ...]
    color: str
    pattern: str
    count: int

    def fits(self, thing: Thing) -> bool:
        return (
            thing.kind in self.kinds
            and self.color in ("", thing.color)
            and self.pattern in ("", thing.pattern)
            and (self.count == thing.count or (self.count == 0 and thing.count > 1))
        )


def _alternatives(phrases: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))


_SINGULARS = {noun: noun for noun in MEANT}
_PLURALS = {_plural(noun): noun for noun in MEANT}
_SAID_OF: dict[str, tuple[str, str]] = {
    phrase: (topic, meaning)
    for topic, table in (("place", PLACES), ("light", LIGHTS), ("relation", RELATIONS))
    for meaning, phrases in table.items()
    for phrase in phrases
}
_SAID_OF |= {phrase: ("together", "") for phrase in TOGETHER}
_SAID_OF |= {BACKGROUND: ("background", ""), ON_IT: ("on_it", "")}
_THING = re.compile(
    rf"(?P<number>an?|some|{_alternatives(list(COUNTS))}) "
    rf"(?:(?P<pattern>{'|'.join(PATTERNS)}) )?(?:(?P<color>{'|'.join(COLORS)}) )?"
    rf"(?P<noun>{_alternatives([*_SINGULARS, *_PLURALS])})\b"
    rf"(?: in(?: (?P<worn_pattern>{'|'.join(PATTERNS)}))?(?: (?P<worn_color>{'|'.join(COLORS)})| clothes)\b)?"
)
_SAYING = re.compile(rf"(?:{_alternatives(list(_SAID_OF))})\b")
_OPENING = re.compile(rf"(?:{_alternatives(list(OPENINGS))}) ")


def is_right(caption: str, scene: Scene) -> bool:
    """Whether all that a caption says is true of the scene and it names the main things, both where there are two.

    What can't be read, as it is not of the language or says nothing of any thing, is not right.
    """
    main = set(range(len(scene.things[:2])))
    return any(main <= set(meant) for meant in _meanings(caption, scene))


def is_true(caption: str, scene: Scene) -> bool:
    """Whether all that a caption says is true of the scene, be it as little as that there is a dog."""
    return any(True for _ in _meanings(caption, scene))


def _meanings(caption: str, scene: Scene) -> Iterator[tuple[int, ...]]:
    """The ways to understand a caption of which all is true: which of the scene's things each of its names means."""
    said = _read(caption)
    if said is None or any(
        (topic == "place" and meaning != scene.place) or (topic == "light" and meaning != scene.light)
        for topic, meaning in (part for part in said if not isinstance(part, _Named))
    ):
        return
    named = [part for part in said if isinstance(part, _Named)]
    for meant in permutations(range(len(scene.things)), len(named)):
        fitting = all(part.fits(scene.things[index]) for part, index in zip(named, meant, strict=True))
        if fitting and _relations_hold(said, meant, scene):
            yield meant


def _read(caption: str) -> list[_Named | tuple[str, str]] | None:
    """The caption's parts in their order, or nothing if it isn't wholly of the language."""
    rest = _OPENING.sub("", caption, count=1) if _OPENING.match(caption) else caption
    parts: list[_Named | tuple[str, str]] = []
    while rest:
        found = _SAYING.match(rest) or _THING.match(rest)
        part = found and (_SAID_OF.get(found[0]) or _named(found))
        if not found or not part:
            return None
        parts.append(part)
        rest = rest[found.end() :].removeprefix(" ")
    return parts if _is_a_sentence(parts) else None


def _named(match: re.Match[str]) -> _Named | None:
    number, noun = match["number"], match["noun"]
    one = number in ("a", "an")
    if noun not in (_SINGULARS if one else _PLURALS) or (match["color"] and match["worn_color"]):
        return None
    kinds = MEANT[noun if one else _PLURALS[noun]]
    color, pattern = match["color"] or match["worn_color"] or "", match["pattern"] or match["worn_pattern"] or ""
    return _Named(kinds, color, pattern, 1 if one else COUNTS.get(number, 0))


def _is_a_sentence(parts: list[_Named | tuple[str, str]]) -> bool:
    """Whether it starts with a thing, and each further one follows a word that ties it to what went before."""
    if not parts or not isinstance(parts[0], _Named):
        return False
    for before, after in pairwise([*parts, ("end", "")]):
        ties = not isinstance(before, _Named) and before[0] in ("relation", "together")
        if ties != isinstance(after, _Named):
            return False
    return True


def _relations_hold(parts: list[_Named | tuple[str, str]], meant: tuple[int, ...], scene: Scene) -> bool:
    """Whether each relation holds of the caption's first thing and the one that follows it, both as they are meant."""
    position = -1
    for part in parts:
        if isinstance(part, _Named):
            position += 1
        elif not _saying_holds(part, position, meant, scene):
            return False
    return True


def _saying_holds(saying: tuple[str, str], position: int, meant: tuple[int, ...], scene: Scene) -> bool:
    """Whether what is said behind the name at a position holds, as far as it is of how things stand to each other."""
    topic, relation = saying
    if topic == "relation":
        return _holds(scene, meant[0], relation, meant[position + 1])
    if topic == "on_it":
        return _holds(scene, meant[position], "on", meant[0])
    return topic != "background" or meant[position] == 2


def _holds(scene: Scene, one: int, relation: str, other: int) -> bool:
    if {one, other} == {0, 1}:
        return relation == (scene.relation if one == 0 else INVERSES.get(scene.relation))
    return relation == ("in_front_of" if other == 2 else "behind")
