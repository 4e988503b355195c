import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.captioner.command_line import InputError
from stages.choice.acceptance import (
    MOST_CONTENDERS,
    Figures,
    Final,
    Lead,
    Recommendation,
    budget_breaches,
    contenders,
    judge,
    recommend,
)
from stages.scoring.small_samples import estimate_relative_change, estimate_share
from stages.setup.params import Accept, Folder, Photographs, Scenes

SCENES = Scenes(kind="scenes", evaluation=200, calibration=64)
FOLDER = Folder(kind="folder", images="data/local/photos", evaluation=200, calibration=64)
PHOTOGRAPHS = Photographs(kind="photographs")
BUDGETS = Accept(cider_change_at_least=-0.01, same_caption_at_least=0.9)


def times(speedup: float = 1.0, width: float = 0.05, mb: float = 20.0, **others: float) -> dict[str, Any]:
    bounds = {"speedup_ci_low": speedup / (1 + width), "speedup_ci_high": speedup * (1 + width)}
    costs = {"checkpoint_mb": mb, "peak_memory_mb": 100.0, "load_s": 0.3, "load_s_ci_high": 0.35}
    return {"speedup": speedup, **bounds, **costs, **others}


def kept(pictures: int = 1000, differing: int = 0, loss: float = 0.5, *, captioned: bool = True) -> dict[str, Any]:
    """Figures of a variant that gives so many other captions, each of which loses so much of its CIDEr."""
    baseline = np.full(pictures, 1.3)
    lost = np.arange(pictures) < differing
    quality = {"images": pictures, **estimate_share(~lost).entries("same_caption", 6)}
    if captioned:
        change = estimate_relative_change(baseline * (1 - loss * lost), baseline)
        quality |= {"cider": 1.3, **change.estimate.entries("cider_change_share", 6)}
        quality["cider_change_share_deviation"] = change.deviation
    return quality


def decide(
    variants: dict[str, tuple[dict[str, Any], dict[str, Any]]],
    accept: Accept = BUDGETS,
    dataset: Any = SCENES,
    control: dict[str, Any] | None = None,
    final: Final | None = None,
    *,
    trained: bool = True,
) -> Recommendation:
    metrics = figures_of(variants, control)
    settled = final or timed_alike(contenders(metrics, accept, trained=trained))
    return recommend(metrics, accept, settled, "mine", dataset, trained=trained)


def figures_of(
    variants: dict[str, tuple[dict[str, Any], dict[str, Any]]], control: dict[str, Any] | None = None
) -> dict[str, Figures]:
    metrics = {"baseline": {"benchmark": control or times(), "quality": {"images": 1000}}}
    return metrics | {name: {"benchmark": own, "quality": quality} for name, (own, quality) in variants.items()}


def ahead(ratio: float, width: float = 0.02) -> Lead:
    return Lead(
        times_as_fast=ratio, times_as_fast_ci_low=ratio / (1 + width), times_as_fast_ci_high=ratio * (1 + width)
    )


def timed_alike(names: list[str]) -> Final:
    """A final that no contender wins."""
    return Final(fastest=names[0], leads={name: ahead(1.001) for name in names[1:]}) if names else Final()


def test_the_fastest_that_passes_is_shipped_and_refusals_say_why() -> None:
    found = decide(
        {
            "safe": (times(2, mb=9), kept()),
            "quick": (times(3, mb=8), kept()),
            "broken": (times(5, mb=5), kept(differing=1000, loss=1)),
        }
    )
    assert (found.checkpoint, found.tied, found.undecided, found.pictures_needed) == ("quick", [], {}, None)
    assert found.sentence.startswith("Ship quick: 3.00 times as fast as the baseline (2.86 to 3.15), CIDEr changes by")
    assert "8.0 MB on disk" in found.sentence
    cider, same = found.refused["broken"]
    assert cider == "CIDEr changes by -100.0% (-100.0% to -99.3%), and at least -1.0% is asked for"
    assert same == "captions stay the same for 0.0% (0.0% to 0.4%), and at least 90.0% is asked for"


@pytest.mark.parametrize(
    ("budget", "part"),
    [
        ({"checkpoint_mb_at_most": 19.9}, "it takes 20.0 MB on disk, and 19.9 are allowed"),
        ({"memory_mb_at_most": 99}, "it takes 100 MB of memory, and 99 are allowed"),
        ({"first_caption_s_at_most": 0.34}, "may come only after 0.35 s, and 0.34 are allowed"),  # the interval's end
    ],
)
def test_a_cost_above_its_budget_refuses(budget: dict[str, float], part: str) -> None:
    found = decide({"quick": (times(3, mb=20), kept())}, Accept(**budget))
    assert found.checkpoint is None
    assert part in found.refused["quick"][0]
    assert found.sentence.startswith("Ship the baseline")
    enough = Accept(**{key: value * 1.1 for key, value in budget.items()})
    assert decide({"quick": (times(3, mb=20), kept())}, enough).checkpoint == "quick"


def test_a_tie_goes_to_the_smaller() -> None:
    own = {"quick": (times(3.05, mb=9), kept()), "small": (times(3, mb=8), kept()), "slow": (times(2, mb=1), kept())}
    found = decide(own)
    assert (found.checkpoint, found.tied) == ("small", ["quick"])
    assert "Within noise, quick is as fast, but not smaller." in found.sentence
    apart = {"quick": (times(3.05, 0.001, mb=9), kept()), "small": (times(3, 0.001, mb=8), kept())}
    quiet, noisy = times(1, 0.001), times(0.97, 0.05)
    assert decide(apart, control=quiet).checkpoint == "quick"
    assert decide(apart, control=noisy).checkpoint == "small", "the control's noise explains the difference"


def test_what_noise_or_slowness_explains_is_not_put_in_the_baselines_place() -> None:
    same_size = times(1.04, mb=20)
    for own in (same_size, times(0.98, mb=5), times(0.5, mb=5)):
        found = decide({"other": (own, kept())}, control=times(0.98, 0.05, mb=20))
        assert found.checkpoint is None
        assert "it is no better than the baseline" in found.refused["other"][0]
        assert found.sentence.startswith("Ship the baseline")
    assert decide({"other": (times(1.04, mb=5), kept())}).checkpoint == "other", "as fast, and smaller"


@pytest.mark.parametrize(("pictures", "needed"), [(7, 368), (10, 368), (200, 368)])
def test_few_pictures_without_a_difference_decide_nothing(pictures: int, needed: int) -> None:
    found = decide({"quick": (times(3), kept(pictures))})
    assert (found.checkpoint, found.pictures_needed, found.refused) == (None, needed, {})
    expected = f"{pictures} pictures are too few to tell whether quick keeps its captions, about {needed} would do"
    assert expected in found.sentence
    assert "Set models.mine.dataset.evaluation in params.yaml" in found.sentence
    assert decide({"quick": (times(3), kept(needed + 10))}).checkpoint == "quick"


def test_without_captions_agreement_decides() -> None:
    bare = {"quick": (times(3), kept(10, captioned=False))}
    found = decide(bare, dataset=FOLDER)
    assert (found.checkpoint, found.pictures_needed) == (None, 36)  # 0.9 to the 36th is 2.3 %
    found = decide({"quick": (times(3), kept(36, captioned=False))}, dataset=FOLDER)
    assert found.checkpoint == "quick" and "captions stay the same for 100.0%" in found.sentence
    found = decide({"quick": (times(3), kept(1000, captioned=False))}, Accept(cider_change_at_least=-0.01), FOLDER)
    assert found.checkpoint is None and found.pictures_needed is None
    assert "set accept.same_caption_at_least" in found.sentence


def test_the_number_of_pictures_is_enough_four_times_in_five() -> None:
    share, budget, dice = 0.93, 0.9, np.random.default_rng(0)
    quality = {"images": 100, **estimate_share(np.arange(100) < 93).entries("same_caption", 6)}
    needed = judge({"benchmark": times(), "quality": quality}, Accept(same_caption_at_least=budget), trained=True)[2]
    assert needed is not None
    enough = [estimate_share(dice.random(needed) < share).low >= budget for _ in range(400)]
    assert 0.7 <= np.mean(enough) <= 0.9


def test_the_number_of_pictures_for_cider_counts_the_one_that_nobody_has_seen() -> None:
    """Seldom another caption, which costs or gains much: what one more such picture could do is a large part of it."""
    dice, baseline = np.random.default_rng(0), 1.3

    def scores(pictures: int) -> np.ndarray:
        return baseline * (1 + dice.choice([0, -0.5, 0.4], pictures, p=[0.98, 0.012, 0.008]))

    change = estimate_relative_change(scores(20_000), np.full(20_000, baseline))
    entries = {"cider_change_share": -0.003, "cider_change_share_ci_low": -0.012, "cider_change_share_ci_high": 0.005}
    quality = {"images": 400, "cider": baseline, **entries, "cider_change_share_deviation": change.deviation}
    own = {"benchmark": times(), "quality": quality}
    needed = judge(own, Accept(cider_change_at_least=-0.01), trained=True).pictures_needed
    assert needed is not None
    enough = [
        estimate_relative_change(scores(needed), np.full(needed, baseline)).estimate.low >= -0.01 for _ in range(40)
    ]
    assert 0.6 <= np.mean(enough) <= 0.95  # four in five, of forty


def test_on_the_budget_itself_no_number_of_pictures_tells() -> None:
    quality = {"images": 100, **estimate_share(np.arange(100) < 90).entries("same_caption", 6)}
    found = decide({"quick": (times(3), quality)})
    assert found.checkpoint is None and found.pictures_needed is None
    assert "no number would" in found.sentence


def test_photographs_decide_nothing_and_the_sentence_says_what_would() -> None:
    found = decide({"quick": (times(3), kept(7))}, dataset=PHOTOGRAPHS)
    assert found.checkpoint is None
    for line in (
        "dataset: {kind: coco, images: data/local/coco/val2014, annotations: data/local/coco/dataset_coco.json, "
        "evaluation: 368, calibration: 64}",
        "dataset: {kind: folder, images: data/local/photos, evaluation: 368, calibration: 64}",
    ):
        assert line in found.sentence


def test_of_untrained_weights_only_the_fastest_is_named() -> None:
    found = decide({"quick": (times(3), kept()), "slow": (times(2), kept())}, trained=False)
    assert found.checkpoint is None and found.pictures_needed is None
    assert "captions mean nothing" in found.sentence and "by time alone, quick is the fastest" in found.sentence
    limits = Accept(checkpoint_mb_at_most=1)
    assert decide({"quick": (times(3), kept())}, limits, trained=False).refused["quick"]


def test_a_faster_one_that_is_undecided_is_named_beside_the_one_to_ship() -> None:
    found = decide({"quick": (times(5), kept(differing=12)), "safe": (times(2), kept())})
    assert found.checkpoint == "safe"
    assert found.pictures_needed and f"about {found.pictures_needed} would do" in found.sentence
    assert "quick is faster, but 1000 pictures are too few" in found.sentence
    found = decide({"slow": (times(2), kept(differing=12)), "safe": (times(5), kept())})
    assert found.pictures_needed is None, "nothing hangs on it"


def test_the_gate_names_every_breach_and_takes_too_few_pictures_for_one() -> None:
    own = {"benchmark": times(3, mb=20), "quality": kept(10)}
    limits = Accept(checkpoint_mb_at_most=5, same_caption_at_least=0.9)
    size, captions = budget_breaches({"quick": own}, limits, trained=True)
    assert size == "quick is refused, as it takes 20.0 MB on disk, and 5 are allowed"
    assert captions.startswith("quick is undecided, as captions stay the same for 100.0% (69.2% to 100.0%)")
    assert not budget_breaches({"slow": {"benchmark": times(0.5), "quality": kept()}}, BUDGETS, trained=True)


# Any figures at all

benchmarks = st.builds(times, st.floats(0.3, 9), st.floats(0, 1), st.floats(1, 40))
PICTURES = (2, 10, 150, 1000)
QUALITIES = [
    kept(pictures, round(share * pictures), loss, captioned=captioned)
    for pictures in PICTURES
    for share in (0, 0.01, 0.1, 1)
    for loss, captioned in ((0.2, True), (1, True), (0, False))
]
checkpoints = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(benchmarks, st.sampled_from(QUALITIES)),
    max_size=4,
)
accepts = st.builds(
    Accept,
    cider_change_at_least=st.none() | st.floats(-1, -0.001),
    same_caption_at_least=st.none() | st.floats(0.01, 0.999),
    checkpoint_mb_at_most=st.none() | st.floats(1, 50),
)
controls = st.builds(times, st.floats(0.8, 1.2), st.floats(0, 0.5))


def no_breach(own: Figures, accept: Accept) -> bool:
    return not budget_breaches({"it": own}, accept, trained=True)


@given(checkpoints, accepts, controls)
def test_what_is_recommended_keeps_every_budget(
    variants: dict[str, tuple[dict[str, Any], dict[str, Any]]], accept: Accept, control: dict[str, Any]
) -> None:
    before = copy.deepcopy(variants)
    found = decide(variants, accept, control=control)
    assert variants == before
    assert found.sentence and found.sentence.isprintable()
    for names in (found.refused, found.undecided):
        assert found.checkpoint not in names
        assert not set(found.tied) & names.keys()
        assert all(names.values())
    assert not found.refused.keys() & found.undecided.keys()
    for name in (found.checkpoint, *found.tied):
        if name is not None:
            own, quality = variants[name]
            assert no_breach({"benchmark": own, "quality": quality}, accept)
            assert own["speedup"] >= 1
            assert own["checkpoint_mb"] >= variants[str(found.checkpoint)][0]["checkpoint_mb"]
    if found.checkpoint is None:
        assert found.refused.keys() | found.undecided.keys() == variants.keys()
    if found.pictures_needed:
        assert found.undecided and f"about {found.pictures_needed} would do" in found.sentence


# The budgets of captions go together: without the other, CIDEr's alone leaves uncaptioned pictures without any.
DROPPABLE = [{"cider_change_at_least"}, {"cider_change_at_least", "same_caption_at_least"}, {"checkpoint_mb_at_most"}]


@given(checkpoints, accepts, controls, st.sampled_from([set[str](), *DROPPABLE]), st.floats(0, 1))
def test_a_looser_budget_never_turns_a_recommendation_into_none(
    variants: dict[str, tuple[dict[str, Any], dict[str, Any]]],
    accept: Accept,
    control: dict[str, Any],
    dropped: set[str],
    room: float,
) -> None:
    looser = {
        "cider_change_at_least": lambda budget: max(budget * (1 + room), -1),
        "same_caption_at_least": lambda budget: max(budget * (1 - room), 1e-6),
        "checkpoint_mb_at_most": lambda budget: budget * (1 + room),
    }
    given = accept.model_dump(exclude_none=True, exclude=dropped)
    loose = Accept(**{key: looser[key](budget) for key, budget in given.items()})
    if decide(variants, accept, control=control).checkpoint:
        assert decide(variants, loose, control=control).checkpoint


CLOSE = {"quick": (times(3.1, width=0.2, mb=9), kept()), "small": (times(3, width=0.2, mb=8), kept())}


def test_contenders_are_those_that_keep_their_budgets_and_could_be_the_fastest() -> None:
    slow, broken = (times(1.5), kept()), (times(5), kept(differing=1000, loss=1))
    assert contenders(figures_of(CLOSE | {"slow": slow, "broken": broken}), BUDGETS, trained=True) == ["quick", "small"]
    assert contenders(figures_of({"quick": CLOSE["quick"], "slow": slow}), BUDGETS, trained=True) == []
    assert contenders(figures_of({"slow": slow}), BUDGETS, trained=True) == []
    assert contenders(figures_of({}), BUDGETS, trained=True) == []
    assert contenders(figures_of(CLOSE | {"broken": broken}), BUDGETS, trained=False) == [], "by time alone it is first"
    assert contenders(figures_of(CLOSE), BUDGETS, trained=False) == ["quick", "small"]
    many = {f"v{number}": (times(3 + number / 100, width=0.2), kept()) for number in range(5)}
    assert contenders(figures_of(many), BUDGETS, trained=True) == ["v4", "v3", "v2"][:MOST_CONTENDERS]


def test_the_final_settles_who_is_shipped_and_by_how_much() -> None:
    found = decide(CLOSE, final=Final(fastest="quick", leads={"small": ahead(1.25)}))
    assert (found.checkpoint, found.tied, found.next_fastest) == ("quick", [], "small")
    assert found.lead == ahead(1.25)
    assert "(2.58 to 3.72) and 1.25 times as fast as small (1.23 to 1.27), CIDEr changes by" in found.sentence
    other = decide(CLOSE, final=Final(fastest="small", leads={"quick": ahead(1.1)}))
    assert other.checkpoint == "small", "who was the fastest in the final, whatever the benchmarks seemed to say"


def test_what_the_final_leaves_open_is_a_tie_that_the_smaller_wins() -> None:
    found = decide(CLOSE, final=Final(fastest="quick", leads={"small": ahead(1.01)}))
    assert (found.checkpoint, found.tied, found.lead) == ("small", ["quick"], None)
    assert "times as fast as quick" not in found.sentence


def test_the_next_is_the_closest_of_the_others() -> None:
    three = CLOSE | {"third": (times(2.9, width=0.2, mb=7), kept())}
    found = decide(three, final=Final(fastest="quick", leads={"third": ahead(1.1), "small": ahead(1.2)}))
    assert (found.next_fastest, found.tied) == ("third", [])
    assert "1.10 times as fast as third" in found.sentence


def test_a_final_between_others_is_refused() -> None:
    with pytest.raises(InputError, match="dvc repro"):
        decide(CLOSE, final=Final(fastest="quick", leads={"gone": ahead(1.1)}))


def test_untrained_weights_have_a_final_of_time_alone() -> None:
    final = Final(fastest="quick", leads={"small": ahead(1.25)})
    found = decide(CLOSE, final=final, trained=False)
    assert found.checkpoint is None
    assert "quick is the fastest: 3.10 times as fast as the baseline" in found.sentence
    assert "and 1.25 times as fast as small (1.23 to 1.27)" in found.sentence
