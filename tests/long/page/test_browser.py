"""The page in a real browser, opened from disk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stages.records.metrics import read_metrics
from tests.page.pages import make_reports, write

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed; apt-get install chromium brings one")
PICTURES = 40


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three checkpoints, one of which differs for each fifth picture."""
    same = [f"a dog and {index} cats" for index in range(PICTURES)]
    other = [caption if index % 5 else f"{caption} <b>too</b>" for index, caption in enumerate(same)]
    captions = {"baseline": same, "fast": same, "small": other}
    return write(make_reports(tmp_path_factory.mktemp("page"), captions))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    """The page, in which nothing may be requested or go wrong."""
    page = browser.new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert [own for own in seen if not own.startswith("data:image/webp")] == [file.as_uri()]
    page.close()


def names(page: Page) -> list[str]:
    return page.locator("#table tbody th").evaluate_all("cells => cells.map(cell => cell.firstChild.data.trim())")


def test_the_table_has_the_figures_of_the_files_and_is_sorted_by_any(opened: Page, file: Path) -> None:
    assert names(opened) == ["baseline", "fast", "small"]
    for key in ("speedup", "latency_ms", "checkpoint_mb"):
        for name in names(opened):
            cell = opened.locator(f'td[data-checkpoint={name}][data-figure="benchmark/{key}"]')
            assert (
                float(str(cell.get_attribute("data-value")))
                == read_metrics(file.parent / f"benchmark/{name}.json")[key]
            )
    times = {name: read_metrics(file.parent / f"benchmark/{name}.json")["latency_ms"] for name in names(opened)}
    opened.get_by_role("button", name="a caption takes").click()
    assert names(opened) == sorted(times, key=lambda name: -times[name])
    opened.get_by_role("button", name="a caption takes").click()
    assert names(opened) == sorted(times, key=lambda name: times[name])
    heading = opened.get_by_role("columnheader", name="a caption takes")
    assert heading.get_attribute("aria-sort") == "ascending"
    for _ in range(2):  # the baseline has no such figure, and stays last
        opened.get_by_role("button", name="same captions").click()
        assert names(opened)[-1] == "baseline"
    assert opened.locator("th[aria-sort]").count() == 1


def test_the_gallery_is_filtered_by_checkpoint_and_by_difference(opened: Page) -> None:
    cards = opened.locator(".card:visible")
    assert cards.count() == 24
    assert opened.locator("#count").inner_text() == f"24 of {PICTURES} pictures"
    opened.get_by_role("button", name=f"Show all {PICTURES}").click()
    assert cards.count() == PICTURES
    assert not opened.locator("#more").is_visible()
    opened.get_by_label("only where captions differ").check()
    assert cards.count() == PICTURES // 5 == opened.locator(".other:visible").count()
    assert opened.locator(".card ins:visible").first.inner_text().endswith("<b>too</b>")
    opened.get_by_role("combobox", name="Checkpoint").select_option("fast")
    assert cards.count() == 0 and opened.locator("#count").inner_text() == "0 of 0 pictures"
    opened.get_by_label("only where captions differ").uncheck()
    assert cards.count() == PICTURES and opened.locator(".other:visible").count() == 0


def test_the_worst_of_the_chosen_checkpoint_comes_first(opened: Page, file: Path) -> None:
    import pandas as pd

    tables = {name: pd.read_csv(file.parent / f"quality/{name}.csv") for name in ("baseline", "small", "fast")}
    for name in ("small", "fast"):
        opened.get_by_role("combobox", name="Checkpoint").select_option(name)
        worst = (tables["baseline"]["cider"] - tables[name]["cider"]).idxmax()
        assert opened.locator(".card .name").first.inner_text() == tables[name]["image"][worst]


def test_everything_can_be_done_by_keyboard(opened: Page) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the page's content"
    focused, reached = ["", ""], []
    while focused[0] != "more" and len(reached) < 400:
        opened.keyboard.press("Tab")
        focused = opened.evaluate("[document.activeElement.id, document.activeElement.textContent.trim()]")
        reached.append(focused)
        if focused[1].startswith("speed-up"):
            opened.keyboard.press("Enter")
        if focused[0] == "by-difference":
            opened.keyboard.press("Space")
            assert opened.locator(".card:visible").count() == 0
            opened.keyboard.press("Space")
        if focused[0] == "by-checkpoint":
            opened.keyboard.press("ArrowDown")
    opened.keyboard.press("Enter")  # «Show all»: the first new picture has the focus
    assert opened.locator(".card:visible").count() == PICTURES
    assert opened.evaluate("document.activeElement === document.querySelectorAll('.card')[24]")
    assert opened.get_by_role("columnheader", name="speed-up").get_attribute("aria-sort") == "descending"
    assert opened.get_by_role("combobox", name="Checkpoint").input_value() == "fast"
    assert ["", "Instruction sets, libraries, what it can do at best"] in reached
    style = "getComputedStyle(document.activeElement)"
    opened.get_by_role("combobox", name="Checkpoint").focus()
    assert opened.evaluate(f"{style}.outlineStyle") == "solid"


def test_without_scripts_everything_is_there(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".card:visible").count() == PICTURES
    assert page.locator("#table tbody tr:visible").count() == 3
    assert not page.locator("#filters").is_visible() and not page.locator("#more").is_visible()
    context.close()


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_it_fits_the_window(browser: Browser, file: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(file.as_uri())
    page.locator("details").evaluate_all("all => all.forEach(own => { own.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    context.close()


def test_it_follows_light_and_dark_and_prints(browser: Browser, file: Path, tmp_path: Path) -> None:
    grounds, axes = [], []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(file.as_uri())
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        axes.append(page.evaluate("getComputedStyle(document.querySelector('svg text')).fill"))
        page.close()
    assert len(set(grounds)) == 2 and len(set(axes)) == 2
    page = browser.new_page()
    page.goto(file.as_uri())
    assert page.pdf(path=tmp_path / "page.pdf", format="A4").startswith(b"%PDF")
    page.close()
