from hypothesis import given
from hypothesis import strategies as st

from stages.pictures.scenes import COLORS, COMBINATIONS, Scene, Thing, compose, describe, is_held_out

seeds = st.integers(0, 2**40)


@given(seeds)
def test_held_out_scenes_show_combinations_that_training_never_shows(seed: int) -> None:
    assert is_held_out(compose(seed, "held_out").things)
    assert not is_held_out(compose(seed, "training").things)
    assert not is_held_out(compose(seed, "training", most_things=2).things)


@given(seeds)
def test_a_scene_has_five_different_descriptions_that_name_all_its_things(seed: int) -> None:
    scene = compose(seed, "held_out")
    captions = describe(scene)
    assert len(set(captions)) == 5
    for caption in captions:
        assert all(thing.kind in caption.split() for thing in scene.things[:2])
        assert caption == " ".join(caption.split())


@given(seeds)
def test_the_preferred_description_names_every_thing_with_its_color(seed: int) -> None:
    scene = compose(seed, "held_out")
    said = describe(scene)[0].split()
    assert [word for word in said if word in COLORS] == [thing.kind for thing in scene.things]
    colors = {color for own in COLORS.values() for color in own}
    assert [word for word in said if word in colors] == [thing.color for thing in scene.things if thing.color]


@given(seeds)
def test_a_seed_always_means_the_same_scene(seed: int) -> None:
    assert compose(seed, "training") == compose(seed, "training")


def test_a_man_and_his_dog_in_the_park() -> None:
    scene = Scene((Thing("man", "blue"), Thing("dog", "brown")), "owns", "park", "sun")
    assert describe(scene)[:2] == ["a man in blue and his brown dog in the park", "a man and his dog in the park"]


def test_every_kind_of_thing_occurs_in_held_out_scenes() -> None:
    shown = {thing.kind for seed in range(500) for thing in compose(seed, "held_out").things}
    assert shown == {kind for pair in COMBINATIONS for kind in pair}
