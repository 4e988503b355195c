import os
import re
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.captioner.command_line import printable
from stages.page.gallery import SHOWN, as_line
from stages.page.trade_offs import pareto_optimal
from stages.page.web_charts import ACCENT, BAND, COLORS, INK, LINE, MUTED
from stages.page.web_page import COLUMNS, HERE
from stages.page.words import interval, number, words_of
from stages.records.metrics import read_metrics, write_metrics
from tests.page.pages import CAPTIONS, RECOMMENDATION, WHOSE, make_reports, write, write_references


def parsed(page: Path) -> Element:
    """A page as a browser reads it; raises at anything that HTML forbids."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(
        page.read_text(encoding="utf-8")
    )
    return tree


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def row_of(element: Element) -> str:
    return " ".join(text_of(cell) for cell in element)


def charts_of(tree: Element) -> list[str]:
    """What the page's charts say to those who don't see them."""
    charts = [element for element in tree.iter() if str(element.tag).endswith("}svg")]
    assert charts and all(chart.get("role") == "img" for chart in charts)
    return [str(chart.get("aria-label")) for chart in charts]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write(make_reports(tmp_path))


# What it says


def test_every_figure_of_the_table_is_that_of_its_file(page: Path) -> None:
    cells = {
        (cell.get("data-checkpoint"), cell.get("data-figure")): (cell.get("data-value"), text_of(cell))
        for cell in parsed(page).iterfind(".//td[@data-figure]")
    }
    assert len(cells) == len(CAPTIONS) * len(COLUMNS)
    for (name, figure), (value, shown) in cells.items():
        part, key = str(figure).split("/")
        own = read_metrics(page.parent / part / f"{name}.json")
        assert value == (str(own[key]) if key in own else "")
        expected = f"{number(own[key], words_of(key))} {interval(own, key)}".strip() if key in own else "–"
        assert shown.replace("×", "") == expected


def test_words_a_step_are_shown_where_some_checkpoint_guesses(tmp_path: Path) -> None:
    make_reports(tmp_path)
    tree = parsed(write(tmp_path))
    assert "how many words a step of the decoder says" in text_of(tree)
    shown = {
        cell.get("data-checkpoint"): text_of(cell)
        for cell in tree.iterfind(".//td[@data-figure]")
        if cell.get("data-figure") == "quality/words_per_step"
    }
    assert shown == {"baseline": "–", "fast": "1.59", "small": "1.59"}
    for file in (tmp_path / "reports/quality").glob("*.json"):
        write_metrics({key: own for key, own in read_metrics(file).items() if key != "words_per_step"}, file)
    assert "words a step" not in text_of(parsed(write(tmp_path)))


def test_all_figures_stand_in_the_tables_behind(page: Path) -> None:
    tree = parsed(page)
    rows = {text_of(row[0]): [text_of(cell) for cell in row[1:]] for row in tree.iterfind(".//table[@class='all']//tr")}
    for part in ("benchmark", "quality"):
        for key, value in read_metrics(page.parent / part / "small.json").items():
            if not key.endswith(("_ci_low", "_ci_high")):
                assert rows[words_of(key).label][2].startswith(number(value, words_of(key)))


def test_charts_say_their_figures_in_words(page: Path) -> None:
    charts = charts_of(parsed(page))
    times = read_metrics(page.parent / "benchmark/fast.json")
    for key in ("speedup", "encode_ms", "token_ms", "load_s", "checkpoint_mb"):
        said = f"fast: {number(times[key], words_of(key))}"
        assert any(said in words for words in charts), key
    assert len(set(charts)) == len(charts) == 10


def test_the_recommendation_comes_first_with_every_reason(page: Path) -> None:
    tree = parsed(page)
    first = tree.find(".//section")
    assert first is not None and first.get("id") == "recommendation"
    assert "Ship fast: 3.00 times as fast. Nothing else is." in text_of(first)
    assert "small it takes 900 MB of memory, and 600 are allowed" in text_of(first)
    badges = {text_of(row) for row in tree.iterfind(".//tbody/tr/th") if row.find("span") is not None}
    assert badges == {"fast ship this", "small refused"}


def test_a_limit_is_marked_and_what_noise_hides_is_said(tmp_path: Path) -> None:
    make_reports(tmp_path)
    file = tmp_path / "reports/benchmark/fast.json"
    times = read_metrics(file) | {"encode_ms": 20.0, "encode_limit_ms": 12.5, "encode_share": 0.625}
    write_metrics({key: value for key, value in times.items() if not key.startswith("token_ms")}, file)
    tree = parsed(write(tmp_path))
    words = " ".join(charts_of(tree))
    assert re.search(r"fast: 20\.0 ms \([^)]*\), limit 12\.5 ms, 62% of it reached", words)
    assert "fast: hidden by noise" in words
    assert "the thick marks" in text_of(tree)


def test_untrained_weights_have_no_quality_to_draw(tmp_path: Path) -> None:
    page = text_of(parsed(write(make_reports(tmp_path, captioned=False), trained=False)))
    assert "Speed against quality" not in page
    assert "The weights are random" in page and "furthest from the baseline's (their KL divergence)" in page


def test_pictures_without_captions_are_judged_by_agreement(tmp_path: Path) -> None:
    tree = parsed(write(make_reports(tmp_path, captioned=False)))
    assert "CIDEr" not in text_of(tree) and "A reference" not in text_of(tree)
    assert any("same captions" in text_of(heading) for heading in tree.iterfind(".//table[@id='table']//th"))
    assert any("share of the baseline's captions" in words for words in charts_of(tree))


def test_the_baseline_alone_has_a_page(tmp_path: Path) -> None:
    alone = {"baseline": CAPTIONS["baseline"]}
    tree = parsed(
        write(make_reports(tmp_path, alone), recommendation=RECOMMENDATION.model_copy(update={"refused": {}}))
    )
    assert [card.find(".//del") for card in tree.iterfind(".//li[@class='card']")] == [None] * len(alone["baseline"])
    assert [text_of(row) for row in tree.iterfind(".//table[@id='table']/tbody/tr/th")] == ["baseline"]


def test_sweeps_are_drawn_and_failures_named(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"value": value, "checkpoint": "a", "speedup": 1 + value, "speedup_ci_low": 1.0, "speedup_ci_high": 2.0}
        for value in (0.5, 0.1)
    ]
    content = {
        "knob": "variants.a.prune.amount",
        "provenance": WHOSE.model_dump(),
        "values": [*values, {"value": 0.9, "failed": "<out>"}],
    }
    make_reports(tmp_path)
    write_metrics(content, tmp_path / "reports/sweeps/variants.a.prune.amount.json")
    tree = parsed(write(tmp_path))
    section = tree.find(".//section[@id='sweeps']")
    assert section is not None
    assert "0.9 failed: <out>" in text_of(section)
    assert [row_of(row) for row in section.iterfind(".//tbody/tr")] == [
        "0.5 a 1.50 × (1.00 to 2.00)",
        "0.1 a 1.10 × (1.00 to 2.00)",
    ]
    (chart,) = charts_of(section)
    assert "0.1: 1.10 × (1.00 to 2.00); 0.5: 1.50" in chart


def test_a_layer_that_int8_spoils_is_a_warning(tmp_path: Path) -> None:
    make_reports(tmp_path)
    for level, warned in ((36.5, False), (7.5, True)):
        file = tmp_path / "reports/quality/small.json"
        write_metrics(read_metrics(file) | {"worst_int8_layer_db": level}, file)
        assert ("Warning: small's captions will suffer" in text_of(parsed(write(tmp_path)))) == warned


# What it is


def test_it_needs_no_other_file_and_no_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", text))
    for element in parsed(page).iter():
        for attribute, value in element.items():
            name = str(attribute).rpartition("}")[2].rpartition(":")[2]
            if name in ("src", "srcset", "poster", "data", "action", "background"):
                assert value.startswith("data:image/webp;base64,"), (element.tag, attribute)
            if name == "href" and element.tag != "a":
                assert value.startswith("#"), (element.tag, attribute)


def test_its_links_lead_to_the_files_of_its_figures(page: Path) -> None:
    (page.parent / "report.md").touch()
    tree = parsed(page)
    links = {link.get("href", "") for link in tree.iterfind(".//a")}
    ids = {element.get("id") for element in tree.iter()}
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (page.parent / link).is_file()
    for section in tree.iterfind(".//section"):
        assert any(
            ".json" in link.get("href", "") or ".csv" in link.get("href", "") for link in section.iterfind(".//a")
        )
    assert {"benchmark/small.json", "quality/small.json", "quality/small.csv", "host.json", "peaks.json"} <= links


def test_it_can_be_used_without_seeing_it(page: Path) -> None:
    tree = parsed(page)
    root = tree if tree.tag == "html" else tree.find(".//html")
    assert root is not None and root.get("lang") == "en"
    levels = [int(element.tag[1]) for element in tree.iter() if re.fullmatch("h[1-6]", str(element.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(image.get("alt") for image in tree.iterfind(".//img"))
    assert all(charts_of(tree))
    assert all(cell.get("scope") for cell in tree.iterfind(".//th"))


def test_changed_words_are_marked_as_inserted_and_deleted(page: Path) -> None:
    tree = parsed(page)
    cards = {text_of(card.find(".//p[@class='name']")): card for card in tree.iterfind(".//li[@class='card']")}  # type: ignore[arg-type]
    assert text_of(cards["00000.png"].find(".//ins")) == "with: brown"  # type: ignore[arg-type]
    assert cards["00000.png"].find(".//del") is None
    assert "small" in str(cards["00000.png"].find(".//p[@data-by]").get("data-by"))  # type: ignore[union-attr]
    assert cards["00001.png"].find(".//ins") is None
    assert "(nothing) baseline" in text_of(cards["00002.png"])
    assert "without: a bus (nothing) small" in text_of(cards["00003.png"])


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><b>",
    "{{ 7 * 7 }}",
    "]]> <!-- ' onload='x",
    '"><img src=x>',
    "&lt; & \u202eabc \x1f\x00",
    "$x$",
]


@settings(max_examples=5, phases=[Phase.generate])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"])), max_size=30), st.sampled_from(HOSTILE))
def test_captions_and_names_come_out_as_text(drawn: list[str], model: str) -> None:
    own = {"baseline": [*HOSTILE, *drawn], "fast": [*drawn, *HOSTILE]}
    with TemporaryDirectory() as folder:
        tree = parsed(write(make_reports(Path(folder), own), model=model))
    for card in tree.iterfind(".//li[@class='card']"):
        picture = int(str(card.find("img").get("alt"))[8:13])  # type: ignore[union-attr]
        shown = card.find(".//bdi")
        assert shown is not None
        assert text_of(shown) == (as_line(own["baseline"][picture]) or "(nothing)")
    assert len(list(tree.iter("script"))) == len(list(tree.iter("style"))) == 1
    assert len(list(tree.iter("img"))) == len(own["baseline"]) and tree.find(".//ol//b") is None
    assert text_of(tree.find(".//h1")).startswith(" ".join(printable(model).split()))  # type: ignore[arg-type]


def test_the_same_reports_give_the_same_page(tmp_path: Path) -> None:
    make_reports(tmp_path)
    assert write(tmp_path).read_bytes() == write(tmp_path).read_bytes()


def test_five_thousand_pictures_of_six_checkpoints_stay_below_five_megabytes(tmp_path: Path) -> None:
    pictures = 5000
    other = ["another caption, of ten words or so, that is wrong"] * pictures
    own = {"baseline": ["a caption of ten words or so that is right"] * pictures, **dict.fromkeys("abcde", other)}
    make_reports(tmp_path, {name: captions[:2] for name, captions in own.items()})
    names = [f"COCO_val2014_{index:012}.jpg" for index in range(pictures)]
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "eval/images/noise.jpg")
    for name in names:
        os.link(tmp_path / "eval/images/noise.jpg", tmp_path / "eval/images" / name)
    write_references(tmp_path / "eval", names, ["a reference of some ten words that a person wrote"] * 5)
    random = np.random.default_rng(0)
    for name, captions in own.items():
        rows = [
            f'{image},"{caption}",1 2,{cider:.4f},{kl:.6f}'
            for image, caption, cider, kl in zip(
                names, captions, random.uniform(0, 5, pictures), random.uniform(0, 1, pictures), strict=True
            )
        ]
        (tmp_path / f"reports/quality/{name}.csv").write_text("\n".join(["image,caption,tokens,cider,kl", *rows]))
    page = write(tmp_path)
    assert page.stat().st_size < 5_000_000
    tree = parsed(page)
    assert len(list(tree.iter("img"))) == SHOWN
    assert f"{SHOWN} of 5,000 evaluation pictures: the worst of each checkpoint, the best, and a sample" in text_of(
        tree
    )
    kinds = [text_of(badge) for badge in tree.iterfind(".//li//span[@class='badge']")]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"worst": 100, "best": 50, "sample": 50}


# What is optimal

estimates = st.lists(st.integers(0, 12), min_size=3, max_size=3).map(sorted).map(lambda own: (own[1], own[0], own[2]))


@given(st.dictionaries(st.integers(0, 20).map(str), st.tuples(estimates, estimates), min_size=1, max_size=8))
def test_some_checkpoint_is_optimal_and_one_surely_better_in_both_beats(points: Any) -> None:
    best = pareto_optimal(points)
    assert best
    for one in points:
        for other in points:
            if all(mine[1] > theirs[2] for mine, theirs in zip(points[one], points[other], strict=True)):
                assert other not in best


def test_a_difference_within_the_intervals_beats_nobody() -> None:
    slow, fast = (1.0, 0.9, 1.1), (3.0, 2.8, 3.2)
    assert pareto_optimal({"a": (slow, (0.0, 0.0, 0.0)), "b": (fast, (-0.1, -0.3, 0.1))}) == ["b"]
    assert pareto_optimal({"a": (slow, (0.0, 0.0, 0.0)), "b": (fast, (-0.2, -0.3, -0.1))}) == ["a", "b"]
    assert pareto_optimal({"a": (slow, (0.0, 0.0, 0.0)), "b": ((1.1, 1.0, 1.2), (0.0, -0.1, 0.1))}) == ["a", "b"]


# Its colors


def luminance(color: str) -> float:
    digits = color if len(color) == 7 else "#" + "".join(2 * digit for digit in color[1:])
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(digits[start : start + 2], 16) / 255 for start in (1, 3, 5))
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


STYLE = (HERE / "report.css").read_text(encoding="utf-8")
THEMES = [dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "print"])
def test_text_stands_out_from_its_ground(theme: dict[str, str]) -> None:
    for ground in ("paper", "card"):
        for ink in ("ink", "muted", "accent", "good", "removed"):
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
    assert contrast(theme["removed"], theme["removed-paper"]) >= 4.5
    assert contrast(theme["good"], theme["added-paper"]) >= 4.5
    assert contrast(theme["ink"], theme["band"]) >= 4.5
    assert contrast(theme["accent"], theme["band"]) >= 3


def test_charts_are_drawn_in_the_pages_colors_only(page: Path) -> None:
    charts = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert charts
    for chart in charts:
        assert set(re.findall(r"var\(--(\w+)\)", chart)) <= COLORS.keys()
        assert not re.search(r"(fill|stroke): #", chart)
        assert not any(color in chart for color in (INK, MUTED, LINE, ACCENT, BAND))
        assert "font-family" not in chart and "DejaVu" not in chart


def test_nothing_is_recommended_that_the_recommendation_does_not_say(tmp_path: Path) -> None:
    sentence = "No checkpoint can be recommended yet: 10 pictures are too few. Write dataset: {a: 1} or dataset: {b: 2}"
    undecided = RECOMMENDATION.model_copy(
        update={"checkpoint": None, "sentence": sentence, "refused": {}, "undecided": {"fast": ["few pictures"]}}
    )
    tree = parsed(write(make_reports(tmp_path), recommendation=undecided))
    assert sentence in text_of(tree) and "ship this" not in text_of(tree)
    assert [text_of(code) for code in tree.iterfind(".//section[@id='recommendation']/p/code[@class='line']")] == [
        "dataset: {a: 1}",
        "dataset: {b: 2}",
    ]
    assert "fast undecided" in {text_of(row) for row in tree.iterfind(".//tbody/tr/th")}
