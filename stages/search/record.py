"""What a search found, as `reports/search` keeps it and as a terminal shows it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from stages.page.markdown import estimate, table
from stages.page.searches import Candidate, Study
from stages.page.words import words_of
from stages.records.examples import read_examples
from stages.records.provenance import Provenance
from stages.search.candidates import Given
from stages.search.choice import choose, keeps_budgets
from stages.search.study import importance
from stages.search.trials import results
from stages.setup.params import Recipe, in_flow_style

# The columns of its table: the figure and the heading.
COLUMNS = {
    "lead": "over nothing left out",
    "speedup": "times as fast",
    "kl": "KL",
    "cider_change_share": "CIDEr, change",
    "same_caption": "same captions",
    "checkpoint_mb": "on disk",
}


def study_of(
    study: optuna.Study, given: Given, owner: Provenance, alone_unknown: str
) -> tuple[Study, dict[str, Recipe]]:
    """What a study found, as it is kept, and the recipes of the variants that it becomes."""
    own, params = results(study), given.params
    timed = {number: one["figures"] for number, one in enumerate(own) if one["state"] == "timed"}
    keeping = {number: one for number, one in timed.items() if keeps_budgets(one, params.accept, trained=given.trained)}
    chosen = choose(keeping)
    kept = Study(
        provenance=owner,
        settings=params.search,
        pictures=len(read_examples(given.pictures.search)),
        candidates=[candidate_of(number, one) for number, one in enumerate(own) if one["state"] != "again"],
        found={name: f"candidate_{number}" for name, number in chosen.items()},
        importance=importance(study),
        cores_of_others=most_taken(own),
        alone_unknown=alone_unknown,
    )
    return kept, {name: Recipe.model_validate(own[number]["recipe"]) for name, number in chosen.items()}


def candidate_of(number: int, result: Mapping[str, Any]) -> Candidate:
    """A candidate as the file has it, of what the study's database says."""
    recipe = ", ".join(f"{key}: {in_flow_style(value)}" for key, value in result["recipe"].items())
    own = {"checkpoint": f"candidate_{number}", "recipe": recipe, "state": result["state"], "why": result["why"]}
    figures = {key: round(value, 6) for key, value in result["figures"].items()}
    return Candidate.model_validate(own | figures)


def found_table(study: Study) -> str:
    """A table in Markdown with a row for each recipe that was found; of columns, those that any has a figure for."""
    by_name = {own.checkpoint: own.model_dump() for own in study.candidates}
    rows = {variant: by_name[candidate] for variant, candidate in study.found.items()}
    columns = {key: heading for key, heading in COLUMNS.items() if any(key in row for row in rows.values())}
    headings = ["", *(f"{heading}, {words_of(key).unit}".rstrip(", ×") for key, heading in columns.items()), "recipe"]
    return table(
        headings,
        [[name, *(estimate(row, key) for key in columns), f"`{row['recipe']}`"] for name, row in rows.items()],
    )


def file_name(study: Study) -> str:
    """One for each model and machine; neither has a dot."""
    machine = re.sub(r"[^a-z0-9_]+", "-", study.provenance.machine.lower()).strip("-")
    return f"{study.provenance.model}.{machine}.json"


def most_taken(results: Sequence[Mapping[str, Any]]) -> float | None:
    """The most cores that other jobs took while candidates were timed; None if the system never told."""
    known = [own["cores_of_others"] for own in results if own["cores_of_others"] is not None]
    return round(max(known), 2) if known else None
