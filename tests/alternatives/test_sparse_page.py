import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.alternatives import sparse_page
from stages.alternatives.sparse_chart import draw
from stages.alternatives.sparse_page import (
    PARTS,
    Cost,
    Costs,
    Crossing,
    Part,
    Speed,
    Speeds,
    Zeros,
    bearable,
    crossing,
    section,
    verdict,
    write_page,
)
from stages.captioner.command_line import InputError
from stages.records.metrics import write_metrics

SHARES = (0.3, 0.5, 0.7, 0.9, 0.95)
MARKS = "before\n\n<!-- sparse: made by `make sparse` -->\n\nold\n<!-- end of sparse -->\nafter\n"


def speed(kernel: str, zeros: Zeros, share: float, value: float, part: Part = "picture", int8: float = 4.0) -> Speed:
    figures = {
        f"{name}{end}": figure * factor
        for name, figure in (("speedup", value), ("over_int8", value / int8))
        for end, factor in (("", 1.0), ("_ci_low", 0.9), ("_ci_high", 1.1))
    }
    return Speed(
        part=part, layer="all layers", kernel=kernel, label=kernel, zeros=zeros, share=share, ms=1.0, **figures
    )


def curve(*values: float) -> list[Speed]:
    return [speed("a", "anywhere", share, value) for share, value in zip(SHARES, values, strict=True)]


def speeds(anywhere: tuple[float, ...], blocks: tuple[float, ...]) -> Speeds:
    rows = []
    for part in PARTS:
        rows += [speed("float", "none", 0, 1, part), speed("int8", "none", 0, 4, part)]
        rows += [speed("a", "anywhere", *at, part) for at in zip(SHARES, anywhere, strict=True)]
        rows += [speed("b", "blocks", *at, part) for at in zip(SHARES, blocks, strict=True)]
        rows.append(speed("a_2_4", "2:4", 0.5, 0.3, part))
    return Speeds(machine="AMD EPYC x2", host={}, threads=2, sessions=3, rounds=5, missing={"c": "no AMX"}, speeds=rows)


def cost(zeros: Zeros, share: float, method: str, change: float) -> Cost:
    figures = {
        f"{name}{end}": value
        for name, value in (("cider_change_share", change), ("same_caption", 0.9), ("kl", 0.01))
        for end in ("", "_ci_low", "_ci_high")
    }
    return Cost(method=method, zeros=zeros, share=share, **figures)


COSTS = Costs(
    pictures=9,
    costs=[cost("anywhere", 0.3, "L1", -0.001), cost("anywhere", 0.5, "Wanda", -0.009), cost("2:4", 0.5, "L1", -1)],
)
SLOW, QUICK = (0.1, 0.2, 0.4, 2.0, 3.0), (1.2, 2.0, 5.0, 9.0, 20.0)


def test_a_kernel_passes_where_the_line_between_two_speeds_is_at_one() -> None:
    assert crossing(curve(0.1, 0.2, 0.5, 2.0, 4.0), "speedup").value == pytest.approx(0.8)
    assert crossing(curve(0.1, 0.2, 0.5, 2.0, 4.4), "over_int8").value == pytest.approx(0.9441, abs=1e-3)
    assert crossing(curve(2, 2, 2, 2, 2), "speedup") == Crossing(0.3, 0.3, 0.3)
    assert crossing(curve(*SLOW), "over_int8") == Crossing(None, None, None)
    assert crossing(curve(0.1, 0.1, 0.1, 0.1, 0.95), "speedup").low is not None


def test_it_has_to_stay_faster() -> None:
    assert crossing(curve(2, 0.5, 2, 2, 2), "speedup").value == pytest.approx(0.6)


@given(st.lists(st.floats(0.01, 100), min_size=5, max_size=5))
def test_a_crossing_lies_in_its_interval_and_in_what_was_measured(values: list[float]) -> None:
    found = crossing(curve(*values), "speedup")
    order = [1.0 if end is None else end for end in (found.low, found.value, found.high)]
    assert order == sorted(order)
    assert all(SHARES[0] <= end <= SHARES[-1] for end in found if end is not None)


def test_the_verdict_is_what_the_figures_say() -> None:
    assert verdict(speeds(SLOW, SLOW)) == "**Nothing beats dense int8 below 90 % zeros**, wherever they lie."
    mixed = verdict(speeds(SLOW, QUICK))
    assert mixed.count("with zeros anywhere by nothing") == len(PARTS)
    assert mixed.count("with zeros in blocks of 16×16 by b from 65 % (63–67) on") == len(PARTS)


def test_the_most_that_is_bearable_is_named_for_each_pattern() -> None:
    said = bearable(COSTS)
    assert "zeros anywhere: 50 % by Wanda" in said
    assert said.count("none that was tried") == 2


def test_the_section_has_all_figures_and_what_is_missing() -> None:
    text = section({"amd.json": speeds(SLOW, QUICK)}, {"demo.json": COSTS})
    assert "(sparse/amd.png)" in text and "no AMX (`c`)" in text
    assert "| b | 30 % (30–30) | 65 % (63–67) | 30 % (30–30) | 65 % (63–67) |" in text
    assert "| zeros anywhere | 50 % | Wanda | −0.9 (−0.9 to −0.9) |" in text
    assert text.endswith("\n") and "\n\n\n" not in text


def test_a_page_without_marks_or_with_a_foreign_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = speeds(SLOW, QUICK)
    write_metrics(own.model_dump(mode="json"), sparse_page.SPARSE / "amd.json")
    sparse_page.PAGE.write_text("no marks")
    with pytest.raises(InputError, match="lacks the marks"):
        write_page()
    sparse_page.PAGE.write_text(MARKS)
    write_page()
    page = sparse_page.PAGE.read_text()
    assert page == MARKS.replace("old", section({"amd.json": own}, {}))
    write_page()
    assert sparse_page.PAGE.read_text() == page
    (sparse_page.SPARSE / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json is not a timing of sparse kernels's figures"):
        write_page()
    assert sparse_page.PAGE.read_text() == page


def test_the_chart_is_a_picture_and_written_whole(tmp_path: Path) -> None:
    draw(speeds(SLOW, QUICK), tmp_path / "new" / "amd.png")
    assert (tmp_path / "new" / "amd.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["amd.png"]


def test_the_project_s_own_page_has_its_marks() -> None:
    assert len(re.findall(sparse_page.SECTION, sparse_page.PAGE.read_text(encoding="utf-8"))) == 1
