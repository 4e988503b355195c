from pathlib import Path

from stages.setup.params import Recipe
from tests.conftest import save_tiny_model
from tests.demo.recovery import CUTS, RECOVERIES, cut
from tests.demo.sensitivity import Damage, measure


def test_what_learned_is_another_model_than_what_was_cut(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    few = {"recover": {"steps": 2}}
    rows = list(
        measure(
            folder,
            24,
            lambda _: [
                Damage(
                    name,
                    "",
                    lambda model, dice, more=more: cut(
                        model, dice, Recipe.model_validate(CUTS["decoder layers"] | more), folder, 4
                    ),
                )
                for name, more in (("cut", {}), ("learned", few))
            ],
        )
    )
    (_, lost, learned) = (row.kl.value for row in rows)
    assert lost > 0 and learned > 0 and lost != learned


def test_every_cut_and_every_recovery_is_a_recipe() -> None:
    for own in CUTS.values():
        for more in RECOVERIES.values():
            assert Recipe.model_validate(own | more)
