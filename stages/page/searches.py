"""The files in `reports/search/`: every candidate that `make search` tried, and the recipes that it found.

`stages.search` writes them; the report shows them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.page.kept import BOUND, Figure, Kept, Row, Text, read_kept, settings_of
from stages.records.metrics import REPORTS
from stages.records.provenance import Provenance
from stages.setup.params import Name, Params, Search

SEARCHES = REPORTS / "search"
# The variants that are found, in params.yaml: the fastest, one between and the one that loses least.
FAST, EVEN, CAREFUL = "found_fast", "found_even", "found_careful"
FOUND = (FAST, EVEN, CAREFUL)
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0, lt=BOUND)]


class Candidate(Row):
    """A recipe that was tried, as params.yaml has it in one line, how far it came, and if not to the end, why.

    Its figures are those that benchmark and evaluation give, on the pictures to search on; `lead` is how many times as
    fast it is as the recipe that leaves nothing out, `counted` what a caption takes as a share of the baseline's, by
    multiplications, and `first_kl` the KL divergence before it was built.
    """

    recipe: Text
    state: Literal["timed", "given up", "refused"]
    why: Text = ""


class Study(Kept):
    """A file of `reports/search/`. Whether other jobs took the cores is absent where it can't be known, and why then
    said."""

    provenance: Provenance
    settings: Search
    pictures: Number
    candidates: list[Candidate]
    found: dict[Name, Name] = Field(description="candidates, by the variants that they became")
    importance: dict[Literal["time", "loss"], dict[str, Share]]
    cores_of_others: Figure | None = Field(None, description="the most while a candidate was timed")
    alone_unknown: Text = ""


def read_searches(folder: Path) -> dict[str, Study]:
    """All searches by their files' names, sorted. Raises InputError at a file that is not what one writes."""
    return read_kept(folder, Study, "search")


def searched_settings(params: Params, pictures: dict[str, Any]) -> dict[str, Any]:
    """All that params.yaml says of a search's figures, whatever it was asked for."""
    return settings_of([], params, pictures)


def strange_searches(
    searches: dict[str, Study], run: Provenance, params: Params, pictures: dict[str, Any]
) -> dict[str, str]:
    """Of the searches that are not of a page's own run, by file, a sentence that says whose they are."""
    sentences = {file: own.strange(searched_settings(params, pictures), run) for file, own in searches.items()}
    return {file: sentence for file, sentence in sentences.items() if sentence}
