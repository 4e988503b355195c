"""What lies in reports/waterfalls/: whatever hands make of it is one sentence, or stands in both pages."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stages.page.kept import BOUND
from stages.page.waterfalls import COLUMNS, read_waterfalls, waterfall_table
from stages.page.web_page import show_waterfall
from stages.page.words import ENDS
from tests.page.pages import WHOSE, assert_refused, keep, write
from tests.page.test_web_page import charts_of, parsed, row_of, text_of

NAME = "demo.fast.a-cpu.json"
SPEED = {"speedup": 1.0, "speedup_ci_low": 0.98, "speedup_ci_high": 1.02}
BASELINE = {"checkpoint": "baseline", "added": [], "caption_gmacs": 64.987, "encode_ms": 8.8} | SPEED
ENGINE = {"checkpoint": "step1_quantize", "added": ["runtime: openvino", "quantize: {scheme: static-int8}"]}
ENGINE |= {"speedup": 2.71, "speedup_ci_low": 2.44, "speedup_ci_high": 3.02, "encode_ms": 5.5, "peak_memory_mb": 193.4}
ENGINE |= {"cider_change_share": -0.003, "cider_change_share_ci_low": -0.011, "cider_change_share_ci_high": 0.005}
WATERFALL = {"variant": "fast", "provenance": WHOSE.model_dump(), "steps": [BASELINE, ENGINE]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return keep(tmp_path, "waterfalls", NAME, WATERFALL)


def with_step(**changed: Any) -> dict[str, Any]:
    return WATERFALL | {"steps": [BASELINE, {key: own for key, own in (ENGINE | changed).items() if own != "absent"}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "provenance: Field required"),
        (WATERFALL | {"variant": "../fast"}, "variant: a name is"),
        (WATERFALL | {"provenance": None}, "provenance: Input should be an object"),
        (WATERFALL | {"provenance": {}}, "provenance.settings: Field required"),
        (WATERFALL | {"steps": []}, "steps: List should have at least 1 item"),
        (WATERFALL | {"more": 1}, "more: Extra inputs"),
        (with_step(added="runtime: openvino"), "steps.1.added: Input should be a valid array"),
        (with_step(added=["`|<b>"]), "steps.1.added.0: String should match"),
        (with_step(added=["x" * 201]), "steps.1.added.0: String should match"),
        (with_step(speedup="absent"), "steps.1.speedup: Field required"),
        (with_step(speedup=0), "steps.1.speedup: Input should be greater than 0"),
        (with_step(speedup_ci_low=-0.1), "steps.1.speedup_ci_low: Input should be greater than or equal to 0"),
        (with_step(speedup=10**400), "steps.1.speedup: Input should be"),
        (with_step(encode_ms="5.5"), "steps.1.encode_ms: Input should be a valid number"),
        (with_step(encode_ms=None), "steps.1.encode_ms: Input should be a valid number"),
    ],
    ids=lambda own: str(own)[-40:],
)
def test_a_damaged_file_is_one_sentence(file: Path, content: dict[str, Any], said: str) -> None:
    file.write_text(json.dumps(content))
    assert_refused(file, read_waterfalls, said, "delete it or run the waterfall again")


def test_the_page_has_a_row_for_each_part_and_a_chart(file: Path) -> None:
    tree = parsed(write(file.parents[2]))
    section = tree.find(".//section[@id='waterfall']")
    assert section is not None and tree.find(".//nav/a[@href='#waterfall']") is not None
    assert [row_of(row) for row in section.iterfind(".//tr")] == [
        "added times as fast × the picture ms memory MB multiply-adds G CIDEr, change %",
        "baseline 1.00 0.98 to 1.02 8.80 – 64.99 –",
        "runtime: openvino, quantize: {scheme: static-int8} 2.71 2.44 to 3.02 5.50 193 – −0.3 −1.1 to 0.5",
    ]
    assert "Of demo on A CPU 1/2/3 avx2 x2; from waterfalls/" in text_of(section)
    (chart,) = charts_of(section)
    assert "fast: speed-up of each step. baseline: 1.00 × (0.98 to 1.02); runtime, quantize: 2.71" in chart


def test_one_of_another_run_stands_apart_under_its_owners_name(file: Path) -> None:
    strange = {NAME: "It is of mine on a Z80, with another model than this run."}
    tree = parsed(write(file.parents[2], strange=strange))
    assert tree.find(".//section[@id='waterfall']") is None
    section = tree.find(".//section[@id='other-waterfalls']")
    assert section is not None and strange[NAME] in text_of(section) and "2.71" in text_of(section)


def test_without_any_the_page_has_no_section(file: Path) -> None:
    file.unlink()
    assert "aterfall" not in text_of(parsed(write(file.parents[2])).find(".//main"))  # type: ignore[arg-type]


def test_the_table_in_markdown_has_units_intervals_and_dashes(file: Path) -> None:
    assert waterfall_table(read_waterfalls(file.parent)[NAME]).splitlines() == [
        "|  | times as fast | the picture, ms | memory, MB | multiply-adds, G | CIDEr, change, % |",
        "| --- | --- | --- | --- | --- | --- |",
        "| baseline | 1.00 (0.98–1.02) | 8.80 | – | 64.99 | – |",
        "| `runtime: openvino`, `quantize: {scheme: static-int8}` | 2.71 (2.44–3.02) | 5.50 | 193 | – "
        "| −0.3 (−1.1 to 0.5) |",
    ]


numbers = st.integers(-(2**63), 2**63) | st.floats(-9e18, 9e18)
positive = st.floats(0, BOUND, exclude_min=True, exclude_max=True)
keys = st.sampled_from([f"{key}{end}" for key in COLUMNS for end in ("", *ENDS)])
steps = st.builds(
    lambda figures, speed, added: {
        "checkpoint": "a",
        **figures,
        **dict(zip(SPEED, speed, strict=True)),
        "added": added,
    },
    st.dictionaries(keys, numbers),
    st.tuples(positive, st.just(0.0) | positive, positive),
    st.lists(st.from_regex(r"[A-Za-z0-9_{}:,. +-]{1,200}", fullmatch=True), max_size=3),
)


@settings(max_examples=20, phases=[Phase.generate])
@given(st.lists(steps, min_size=1, max_size=4))
def test_whatever_is_read_can_be_shown(drawn: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_text(json.dumps(WATERFALL | {"steps": drawn}))
        own = read_waterfalls(Path(folder))[NAME]
    assert len(waterfall_table(own).splitlines()) == 2 + len(drawn)
    assert len(show_waterfall(NAME, own).steps) == len(drawn)
