"""What the pages say, held against what is there; tests/long/test_readme.py does what they say."""

import json
import re
import shlex
from importlib.util import find_spec

import pytest
import yaml
from PIL import Image

from stages.setup.params import read_params
from tests.conftest import PROJECT
from tests.readmes import FENCED, PAGES, headings, link_target, read_page, slug

LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
ELSEWHERE = ("http://", "https://", "mailto:")
PARAMS = read_params(PROJECT / "params.yaml")
TARGETS = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ADDED_BY_EXAMPLES = {"mine", "mine-on-photos", "pruned"}  # models and a variant that a page shows how to add


def links(page: str) -> list[str]:
    text = FENCED.sub("", read_page(page))
    return [one or other for one, other in LINK.findall(text) if not (one or other).startswith(ELSEWHERE)]


def commands(page: str) -> list[list[str]]:
    """The words of each command in a page's blocks for the shell, without its variables and comments."""
    blocks = [block for language, block in FENCED.findall(read_page(page)) if language == "sh"]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_first_page_is_one() -> None:
    assert len(read_page("README.md").splitlines()) <= 200


def test_the_first_table_has_the_figures_of_its_machine() -> None:
    first = read_page("README.md").partition("\n## ")[0]
    (machine,) = re.findall(r"made by `make machine` of (reports/machines/[\w-]+\.json)", first)
    measured = json.loads((PROJECT / machine).read_text())["checkpoints"]
    heading, _, *rows = [line.strip("| ").split(" | ") for line in first.splitlines() if line.startswith("|")]
    assert len(heading) <= 5
    named = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[0]) or ["baseline"]}
    assert {"baseline", "fastest"} <= named.keys() <= measured.keys()
    for name, (_, speedup, seconds, memory, disk) in named.items():
        own = measured[name]
        value, low, high = (own[f"speedup{end}"] for end in ("", "_ci_low", "_ci_high"))
        expected = [f"{value:.1f} ({low:.1f}–{high:.1f})", f"1 (noise: {low:.2f}–{high:.2f})"][name == "baseline"]
        assert speedup.replace("*", "") == expected
        assert seconds == f"{own['latency_ms'] / 1000:.2f} s"
        assert (memory, disk) == (f"{own['peak_memory_mb']:.0f} MB", f"{own['checkpoint_mb']:.0f} MB")
    (picture,) = re.findall(r'<img src="([^"]+)"', first)
    assert Image.open(PROJECT / picture).width >= 1000


def test_every_folder_that_people_look_into_has_its_page() -> None:
    assert {f"{folder}/README.md" for folder in ("data", "models", "reports", "stages", "tests")} < {*PAGES}
    assert {link.partition("#")[0] for link in links("README.md")} >= {*PAGES[1:]} - {
        "data/local/README.md",
        "reports/search/README.md",
        "reports/sweeps/README.md",
        "reports/waterfalls/README.md",
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in links(page):
        target = link_target(page, link)
        made = target.is_relative_to(PROJECT / "reports") and target.suffix in (".html", ".json")
        assert target.exists() or made, f"{page}: {link}"
        if "#" in link:
            here = target.relative_to(PROJECT).as_posix()
            assert link.partition("#")[2] in map(slug, headings(here)), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_a_heading_twice(page: str) -> None:
    own = headings(page)
    assert len({*map(slug, own)}) == len(own)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_names_what_is_there(page: str) -> None:
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in TARGETS, words
        if "-m" in words[:3] and words[0].endswith("python"):
            module = words[words.index("-m") + 1]
            assert find_spec(module), words
        for word in words:
            if word.startswith("model=") and "/" not in word:
                assert word.removeprefix("model=") in PARAMS.models.keys() | ADDED_BY_EXAMPLES, words
            for folder, name in re.findall(r"(?:^|=)(models)/([\w-]+)", word):
                assert name in PARAMS.variants.keys() | ADDED_BY_EXAMPLES | {"baseline"}, (folder, words)
            for stage, name in re.findall(r"^(\w+)@([\w-]+)$", word):
                assert stage in STAGES and name in PARAMS.variants.keys() | ADDED_BY_EXAMPLES, words
