import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pictures.drawing import SIDE, draw
from stages.pictures.scenes import COMBINATIONS, PLACES, WEATHERS, Scene, Thing, compose


@given(st.integers(0, 2**40))
@settings(max_examples=50)
def test_drawing_repeats_with_its_seed(seed: int) -> None:
    scene = compose(seed, "training")
    picture = draw(scene, seed)
    assert (picture.mode, picture.size) == ("RGB", (SIDE, SIDE))
    assert picture.tobytes() == draw(scene, seed).tobytes()


def test_whatever_a_caption_tells_apart_looks_different() -> None:
    base = Scene((Thing("man", "red"), Thing("dog", "brown")), "owns", "park", "sun")
    scenes = [Scene(base.things, "owns", place, weather) for place in PLACES for weather in WEATHERS]
    scenes += [Scene((Thing("man", color), base.things[1]), "owns", "park", "sun") for color in ("blue", "green")]
    scenes += [
        Scene(tuple(Thing(kind, "") for kind in kinds), relation, "park", "sun")
        for kinds, relation in COMBINATIONS.items()
    ]
    pictures = {draw(scene, 7).tobytes() for scene in scenes}
    assert len(pictures) == len(scenes)


def test_colors_are_seen_where_the_thing_is() -> None:
    red, blue = (
        np.asarray(draw(Scene((Thing("car", color),), "", "snow", "sun"), 3), int) for color in ("red", "blue")
    )
    differing = np.abs(red - blue).sum(axis=2) > 60
    assert 0.01 < differing.mean() < 0.4
