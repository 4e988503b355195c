"""What lies in reports/search/: whatever hands make of it is one sentence, or stands in both pages."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stages.page.searches import found_table, found_variants, read_searches, recipe_in_words
from stages.page.shown_searches import TABLE, show_search
from stages.page.words import ENDS
from stages.records.metrics import read_metrics, write_metrics
from stages.setup.params import Recipe
from tests.page.pages import WHOSE, assert_refused, keep, write
from tests.page.test_web_page import charts_of, parsed, row_of, text_of

NAME = "demo.a-cpu.json"
RECIPE = Recipe.model_validate(
    {"tokens": {"merged": 0.05}, "runtime": "openvino", "quantize": {"scheme": "static-int8", "float_below_db": 15}}
)
TIMES = {"speedup": 3.5, "speedup_ci_low": 3.2, "speedup_ci_high": 3.8, "lead": 1.2}
LOSS = {"kl": 0.01, "cider_change_share": 0.004, "cider_change_share_ci_low": -0.01, "cider_change_share_ci_high": 0.02}
UNCUT = {"checkpoint": "candidate_0", "recipe": "runtime: openvino", "state": "timed", "lead": 1.0, "kl": 0.0001}
UNCUT |= {"speedup": 2.7, "speedup_ci_low": 2.6, "speedup_ci_high": 2.8, "cider_change_share": 0.001}
FAST = {"checkpoint": "candidate_4", "recipe": recipe_in_words(RECIPE), "state": "timed"} | TIMES | LOSS
GIVEN_UP = {"checkpoint": "candidate_5", "recipe": "shorten: 0.5", "state": "given up", "why": "it is no good"}
SEARCH = {
    "provenance": WHOSE.model_dump(),
    "settings": {"minutes": 20, "first_pictures": 32, "seed": 0},
    "pictures": 200,
    "candidates": [UNCUT, FAST, GIVEN_UP | {"counted": 0.5, "first_kl": 0.3}],
    "found": {"found_fast": "candidate_4"},
    "importance": {"time": {"shorten": 0.25, "tokens.merged": 0.75}},
    "cores_of_others": 0.04,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return keep(tmp_path, "search", NAME, SEARCH)


def with_candidate(**changed: Any) -> dict[str, Any]:
    return SEARCH | {"candidates": [UNCUT, {key: own for key, own in (FAST | changed).items() if own != "absent"}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "provenance: Field required"),
        (SEARCH | {"provenance": {}}, "provenance.settings: Field required"),
        (SEARCH | {"settings": {"minutes": 0}}, "settings.minutes: Input should be greater than 0"),
        (SEARCH | {"pictures": -1}, "pictures: Input should be greater than or equal to 0"),
        (SEARCH | {"found": {"found_fast": "candidate_7"}}, "found_fast is candidate_7, which is none of the timed"),
        (SEARCH | {"found": {"found_fast": "candidate_5"}}, "found_fast is candidate_5, which is none of the timed"),
        (SEARCH | {"found": {"quantized": "candidate_4"}}, "found.quantized.[key]: Input should be 'found_fast'"),
        (SEARCH | {"importance": {"time": {"shorten": 2}}}, "importance.time.shorten: Input should be less than"),
        (SEARCH | {"more": 1}, "more: Extra inputs"),
        (with_candidate(checkpoint="../a"), "candidates.1.checkpoint: a name is"),
        (with_candidate(state="fine"), "candidates.1.state: Input should be 'timed'"),
        (with_candidate(speedup="absent"), "candidates.1: a timed candidate has speedup"),
        (with_candidate(kl="absent"), "candidates.1: a timed candidate has kl"),
        (with_candidate(speedup=10**400), "candidates.1.speedup: Input should be"),
        (with_candidate(kl=None), "candidates.1.kl: Input should be a valid number"),
    ],
    ids=lambda own: str(own)[-40:],
)
def test_a_damaged_file_is_one_sentence(file: Path, content: dict[str, Any], said: str) -> None:
    file.write_text(json.dumps(content))
    assert_refused(file, read_searches, said, "delete it or run the search again")


def judged(file: Path) -> dict[str, Recipe]:
    """Figures of what was found, as `dvc repro` writes them; returns params.yaml's variants."""
    reports = file.parents[1]
    for part in ("benchmark", "quality"):
        write_metrics(read_metrics(reports / part / "fast.json"), reports / part / "found_fast.json")
    change = {f"cider_change_share{end}": -0.006 for end in ("", *ENDS)}
    quality = reports / "quality/found_fast.json"
    write_metrics(read_metrics(quality) | change, quality)
    (reports / "quality/found_fast.csv").write_bytes((reports / "quality/fast.csv").read_bytes())
    return {"found_fast": RECIPE}


def test_the_page_shows_what_was_found_on_both_kinds_of_pictures(file: Path) -> None:
    tree = parsed(write(file.parents[2], variants=judged(file)))
    section = tree.find(".//section[@id='search']")
    assert section is not None and tree.find(".//nav/a[@href='#search']") is not None
    heading, searched, held_out, _, *candidates = [row_of(row) for row in section.iterfind(".//tr")]
    assert heading.startswith("found on pictures speed-up × CIDEr, change in % of the baseline's %")
    assert searched.startswith("found_fast to search on 3.50 3.20 to 3.80 0.4 −1.0 to 2.0")
    assert held_out.startswith(f"{recipe_in_words(RECIPE)} held out ") and " −0.6 −0.6 to −0.6 " in held_out
    assert [row.partition(" ")[0] for row in candidates] == ["candidate_0", "found_fast", "candidate_5"]
    assert " given up: it is no good " in candidates[2]
    assert "3 candidates in 20 minutes, on 200 pictures: 2 timed to the end, 1 given up, 0 imp" in text_of(section)
    front, importance = charts_of(section)
    assert "of 2 candidates" in front and "candidate_4: 3.50 times as fast, 0.4" in front and "found_fast: " in front
    assert importance.endswith("tokens.merged: 75 %; shorten: 25 %.")


def test_figures_of_another_recipe_are_not_those_of_what_was_found(file: Path) -> None:
    variants = judged(file) | {"found_fast": RECIPE.model_copy(update={"shorten": 0.5})}
    section = parsed(write(file.parents[2], variants=variants)).find(".//section[@id='search']")
    assert section is not None and row_of(section.findall(".//tr")[2]).endswith(" held out – – –")


def test_one_of_another_run_stands_apart_and_is_compared_with_nothing_here(file: Path) -> None:
    strange = {NAME: "It is of mine on a Z80, with another model than this run."}
    tree = parsed(write(file.parents[2], strange=strange, variants=judged(file)))
    assert tree.find(".//section[@id='search']") is None
    section = tree.find(".//section[@id='other-searches']")
    assert section is not None and strange[NAME] in text_of(section)
    assert row_of(section.findall(".//tr")[2]).endswith(" held out – – –")
    assert not any("found_fast: " in chart for chart in charts_of(section))


def test_a_search_for_time_alone_has_bars_and_no_captions(file: Path) -> None:
    plain = [{key: own for key, own in one.items() if "cider" not in key} for one in (UNCUT, FAST)]
    file.write_text(json.dumps(SEARCH | {"candidates": plain, "importance": {}}))
    section = parsed(write(file.parents[2], trained=False)).find(".//section[@id='search']")
    assert section is not None
    (chart,) = charts_of(section)
    assert chart.startswith("Speed-up of the fastest candidates. candidate_4: 3.50")


def test_without_any_the_page_has_no_section(file: Path) -> None:
    file.unlink()
    assert parsed(write(file.parents[2])).find(".//section[@id='search']") is None


def test_the_table_in_markdown_has_both_kinds_of_pictures(file: Path) -> None:
    found = found_variants(read_searches(file.parent)[NAME], {}, {})
    lines = found_table(found).splitlines()
    assert lines[2] == "| found_fast | to search on | 3.50 (3.20–3.80) | 0.4 (−1.0 to 2.0) | 0.01000 |"
    assert lines[3] == f"| `{recipe_in_words(RECIPE)}` | held out | – | – | – |"


numbers = st.integers(-(2**63), 2**63) | st.floats(-9e18, 9e18)
positive = st.floats(0, 1e18, exclude_min=True)
keys = st.sampled_from([f"{key}{end}" for key in TABLE for end in ("", *ENDS)])
candidates = st.builds(
    lambda figures, speedup, lead, state: {**FAST, **figures, "speedup": speedup, "lead": lead, "state": state},
    st.dictionaries(keys, numbers),
    positive,
    positive,
    st.sampled_from(["timed", "given up", "refused"]),
)


@settings(max_examples=20, phases=[Phase.generate])
@given(st.lists(candidates, max_size=4))
def test_whatever_is_read_can_be_shown(drawn: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_text(json.dumps(SEARCH | {"candidates": drawn, "found": {}}))
        own = read_searches(Path(folder))[NAME]
    assert found_table(found_variants(own, {}, {})).count("\n") == 2
    assert len(show_search(NAME, own, "", {}, {}, trained=True).candidates) == len(drawn)
