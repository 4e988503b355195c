import pytest

from stages.records.estimate import Estimate
from tests.conftest import save_tiny_model
from tests.demo.sensitivity import Damage, Row, _nothing, jumps, measure, table

EXACT = Estimate(1.0, 0.9, 1.0)


def row(knob: str, step: str, low: float, change: float, high: float) -> Row:
    return Row(Damage(knob, step, _nothing), Estimate(change, low, high), EXACT, EXACT, EXACT)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Of a model that hardly says a word of what it sees: of so many pictures, it has a CIDEr above 0."""
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    return list(measure(folder, 24))


def test_nothing_costs_nothing(rows: list[Row]) -> None:
    nothing = rows[0]
    assert nothing.same.value == 1
    assert nothing.kl.value < 1e-6  # what is kept of the baseline is in float32
    assert nothing.cider_change.value == 0
    assert not nothing.told


def test_every_damage_changes_what_the_model_says_next(rows: list[Row]) -> None:
    assert {damaged.damage.knob for damaged in rows[1:]} >= {"L1 pruning", "heads dropped", "patches merged"}
    assert all(damaged.kl.value > 0 for damaged in rows[1:])


def test_coarser_weights_change_more(rows: list[Row]) -> None:
    eight, *_, four = (damaged.kl.value for damaged in rows if damaged.damage.knob == "bits of weights")
    assert four > eight


def test_what_is_told_from_nothing_and_bearable_is_bold() -> None:
    told, much, unsure = (
        row("a", "1", -0.07, -0.05, -0.03),
        row("a", "2", -0.4, -0.3, -0.2),
        row("a", "3", -0.1, 0, 0.1),
    )
    lines = table([told, much, unsure]).splitlines()[2:]
    assert [line.count("**") for line in lines] == [2, 0, 0]


def test_a_jump_is_from_little_to_much_within_a_knob() -> None:
    little, much = row("pruning", "50 %", -0.02, -0.01, 0), row("pruning", "60 %", -0.9, -0.8, -0.7)
    assert jumps([little, much]) == ["pruning: 50 % to 60 %"]
    assert jumps([little, row("heads", "5 %", -0.9, -0.8, -0.7)]) == ["heads: nothing to 5 %"]
    assert not jumps([row("pruning", "50 %", -0.2, -0.1, 0), much])
