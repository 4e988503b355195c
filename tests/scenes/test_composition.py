from hypothesis import given, settings
from hypothesis import strategies as st

from stages.scenes.composition import INDOORS, KINDS, OUTDOORS, RELATION_WEIGHTS, compose, is_held_out
from stages.scenes.looks import LOOKS

seeds = st.integers(0, 2**40)


@settings(deadline=None)
@given(seeds)
def test_held_out_scenes_show_combinations_that_training_never_shows(seed: int) -> None:
    assert is_held_out(compose(seed, "held_out").things)
    assert not is_held_out(compose(seed, "training").things)


@settings(deadline=None)
@given(seeds)
def test_a_seed_always_means_the_same_scene(seed: int) -> None:
    assert compose(seed, "training") == compose(seed, "training")


@settings(deadline=None)
@given(seeds)
def test_things_are_where_they_belong_and_have_colors_of_their_kind(seed: int) -> None:
    scene = compose(seed, "held_out")
    assert len({thing.kind for thing in scene.things}) == len(scene.things)
    for thing in scene.things:
        kind = KINDS[thing.kind]
        assert kind.habitat in ("anywhere", "indoors" if scene.place in INDOORS else "outdoors")
        assert thing.color in (kind.colors or ("",))
        assert kind.patterned or not thing.pattern
        assert 1 <= thing.count <= kind.most


def test_every_kind_place_relation_and_number_occurs_in_held_out_scenes() -> None:
    scenes = [compose(seed, "held_out") for seed in range(2000)]
    assert {thing.kind for scene in scenes for thing in scene.things} == set(KINDS)
    assert {scene.place for scene in scenes} == {*OUTDOORS, *INDOORS}
    assert {scene.relation for scene in scenes} == set(RELATION_WEIGHTS)
    assert {thing.count for scene in scenes for thing in scene.things} == {1, 2, 3, 4}
    assert {len(scene.things) for scene in scenes} == {2, 3}


def test_there_are_forty_kinds_and_more_each_in_several_looks() -> None:
    assert len(KINDS) >= 40
    assert set(LOOKS) == set(KINDS)
    assert all(len(looks) >= 2 for looks in LOOKS.values())
