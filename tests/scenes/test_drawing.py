from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.scenes.composition import INDOORS, LIGHTS, OUTDOORS, PATTERNS, Scene, Thing, compose
from stages.scenes.drawing import SIDE, draw
from stages.scenes.layout import arrange

seeds = st.integers(0, 2**40)
BALLS = Scene((Thing("ball", "red"), Thing("chair", "white")), "left_of", "park", "day")


@settings(deadline=None)
@given(seeds)
def test_drawing_repeats_with_its_seed(seed: int) -> None:
    scene = compose(seed, "training")
    picture = draw(scene, seed)
    assert (picture.mode, picture.size) == ("RGB", (SIDE, SIDE))
    assert picture.tobytes() == draw(scene, seed).tobytes()


def test_whatever_a_caption_tells_apart_looks_different() -> None:
    first, second = BALLS.things
    scenes = [replace(BALLS, place=place, light=light) for place in OUTDOORS for light in LIGHTS]
    scenes += [replace(BALLS, place=place, light=light) for place in INDOORS for light in ("day", "dim")]
    scenes += [replace(BALLS, relation=relation) for relation in ("right_of", "behind", "in_front_of", "on")]
    scenes += [replace(BALLS, things=(replace(first, color=color), second)) for color in ("blue", "pink")]
    scenes += [replace(BALLS, things=(replace(first, pattern=pattern), second)) for pattern in PATTERNS]
    scenes += [replace(BALLS, things=(replace(first, count=count), second)) for count in (2, 3, 4)]
    scenes += [replace(BALLS, things=(Thing(kind, "red"), second)) for kind in ("vase", "apple", "cup")]
    assert len({draw(scene, 7).tobytes() for scene in scenes}) == len(scenes)


def test_colors_are_seen_where_the_thing_is() -> None:
    red, blue = (
        np.asarray(draw(Scene((Thing("car", color),), "", "snow", "day"), 3), int) for color in ("red", "blue")
    )
    differing = np.abs(red - blue).sum(axis=2) > 60
    assert 0.005 < differing.mean() < 0.4


@settings(deadline=None)
@given(seeds)
@example(30477)
def test_things_stand_in_the_picture_as_their_relation_says(seed: int) -> None:
    scene = compose(seed, "held_out")
    places = {place.thing: place for place in arrange(scene, seed)}
    first, second = (places[thing] for thing in scene.things[:2])
    for place in places.values():
        assert place.height > 0
        assert 0 <= place.x <= 1
        if scene.relation != "holding" or place != second:  # what is held may reach out, by half of its width
            assert place.x - place.width / 2 >= -0.2 and place.x + place.width / 2 <= 1.2
        assert -0.05 <= place.top < place.y <= 1.02
    order = [*places].index(scene.things[0]) - [*places].index(scene.things[1])
    holds = {
        "left_of": first.x + first.width / 2 <= second.x - second.width / 2 + 1e-6,
        "right_of": first.x - first.width / 2 >= second.x + second.width / 2 - 1e-6,
        "behind": order < 0 and first.y < second.y,
        "in_front_of": order > 0 and first.y > second.y,
        "on": first.y < second.y,
        "under": first.top > second.top,
        "above": first.y < second.top,
        "holding": order < 0 and abs(first.x - second.x) < 0.35,
    }
    assert holds[scene.relation]


@settings(deadline=None)
@given(seeds)
def test_no_main_thing_is_hidden_wholly(seed: int) -> None:
    scene = compose(seed, "held_out")
    *_, lower, upper = arrange(scene, seed)
    assert lower.hidden_by(upper) < 0.9
