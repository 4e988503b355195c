"""The files in `reports/search/`: every candidate that `make search` tried, and the recipes that it found.

`stages.search` writes them; the report shows them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import Field, model_validator

from stages.page.kept import BOUND, Figure, Kept, Row, Text, read_kept, settings_of
from stages.page.markdown import estimate, table
from stages.page.words import words_of
from stages.records.metrics import REPORTS, Metrics
from stages.records.provenance import Provenance
from stages.setup.params import Name, Params, Recipe, Search, in_flow_style

SEARCHES = REPORTS / "search"
# The variants that are found, in params.yaml: the fastest, one between and the one that loses least.
Variant = Literal["found_fast", "found_even", "found_careful"]
FOUND: tuple[Variant, ...] = get_args(Variant)
# The figures that a search and `dvc repro` both have of what was found, by which it may have flattered itself.
COMPARED = ("speedup", "cider_change_share", "same_caption", "kl")
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

    @model_validator(mode="after")
    def _check_figures(self) -> Self:
        known = self.model_dump()
        if self.state == "timed" and (lacking := [key for key in ("speedup", "lead", "kl") if key not in known]):
            raise ValueError(f"a timed candidate has {lacking[0]}")
        return self


class Study(Kept):
    """A file of `reports/search/`. Whether other jobs took the cores is absent where it can't be known, and why then
    said."""

    provenance: Provenance
    settings: Search
    pictures: Number
    candidates: list[Candidate]
    found: dict[Variant, Name] = Field(description="candidates, by the variants that they became")
    importance: dict[Literal["time", "loss"], dict[str, Share]]
    cores_of_others: Figure | None = Field(None, description="the most while a candidate was timed")
    alone_unknown: Text = ""

    @model_validator(mode="after")
    def _check_found(self) -> Self:
        timed = {own.checkpoint for own in self.of_state("timed")}
        for variant, candidate in self.found.items():
            if candidate not in timed:
                raise ValueError(f"{variant} is {candidate}, which is none of the timed")
        return self

    def of_state(self, state: str) -> list[Candidate]:
        """The candidates that came so far."""
        return [own for own in self.candidates if own.state == state]

    def in_words(self) -> str:
        """How many candidates there were, and beside what they were timed, in sentences."""
        timed, given_up, refused = (len(self.of_state(state)) for state in ("timed", "given up", "refused"))
        tried = (
            f"{len(self.candidates)} candidates in {self.settings.minutes:g} minutes, on {self.pictures} pictures: "
            f"{timed} timed to the end, {given_up} given up, {refused} impossible."
        )
        if self.cores_of_others is None:
            return f"{tried} Whether other jobs took the cores is not known: {self.alone_unknown or 'nobody looked'}."
        return f"{tried} Other jobs took at most {self.cores_of_others:.1f} cores before a candidate was timed."


class Found(NamedTuple):
    """A variant that a search found: its figures on the pictures to search on and, once `dvc repro` has them, on those
    that it is judged on."""

    variant: str
    candidate: Candidate
    searched: dict[str, Any]
    held_out: dict[str, Any]


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


def recipe_in_words(recipe: Recipe) -> str:
    """A recipe in one line."""
    given = recipe.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{key}: {in_flow_style(value)}" for key, value in given.items())


def found_variants(study: Study, metrics: Metrics, variants: dict[str, Recipe]) -> list[Found]:
    """What a search found. Figures of a variant that has another recipe by now are not those of what was found."""
    by_name = {own.checkpoint: own for own in study.candidates}
    rows = []
    for variant, name in study.found.items():
        own = by_name[name]
        judged = variant in {*metrics} & {*variants} and recipe_in_words(variants[variant]) == own.recipe
        held_out = metrics[variant]["benchmark"] | metrics[variant]["quality"] if judged else {}
        rows.append(Found(variant, own, own.model_dump(), held_out))
    return rows


def compared_figures(found: list[Found]) -> list[str]:
    """Those that any of them has."""
    return [key for key in COMPARED if any(key in own.searched for own in found)]


def found_table(found: list[Found]) -> str:
    """A table in Markdown with two rows for each, one for each kind of pictures."""
    keys = compared_figures(found)
    headings = ["", "on pictures", *(f"{words_of(key).label.partition(':')[0]}, {words_of(key).unit}" for key in keys)]
    rows = []
    for own in found:
        rows.append([own.variant, "to search on", *(estimate(own.searched, key) for key in keys)])
        rows.append([f"`{own.candidate.recipe}`", "held out", *(estimate(own.held_out, key) for key in keys)])
    return table(headings, rows)
