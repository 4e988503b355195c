"""The pages of this project as tests follow them: by page and heading."""

import re
from pathlib import Path

from tests.conftest import PROJECT

PAGES = tuple(
    sorted(
        path.relative_to(PROJECT).as_posix()
        for folder in (
            ".",
            "data",
            "data/local",
            "models",
            "reports",
            "reports/search",
            "reports/sweeps",
            "reports/waterfalls",
            "stages",
            "tests",
        )
        for path in (PROJECT / folder).glob("README.md")
    )
)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read_page(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    """Without those that are comments in commands."""
    return [words for _, words in HEADING.findall(FENCED.sub("", read_page(page)))]


def code_blocks(page: str, heading: str, language: str) -> list[str]:
    """The fenced blocks in a language below a heading of a page, up to the next heading of any level."""
    assert heading in headings(page), f"{page} has no heading «{heading}» any more"
    section = re.split(rf"^#+ {re.escape(heading)}\n", read_page(page), maxsplit=1, flags=re.MULTILINE)[1]
    blocks, position = [], 0
    while block := FENCED.search(section, position):
        if HEADING.search(section, position, block.start()):
            break
        position = block.end()
        if block[1] == language:
            blocks.append(block[2])
    return blocks


def link_target(page: str, link: str) -> Path:
    """What a relative link on a page points to, without its heading."""
    return ((PROJECT / page).parent / link.partition("#")[0]).resolve() if link[0] != "#" else PROJECT / page


def slug(heading: str) -> str:
    """What Git hosts make of a heading, to link to it."""
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return words.replace(" ", "-")
