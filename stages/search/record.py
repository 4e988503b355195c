"""What a search found, as `reports/search` keeps it and as a terminal shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from stages.page.searches import Candidate, Study, recipe_in_words
from stages.records.examples import read_examples
from stages.records.machine import in_file_names
from stages.records.provenance import Provenance
from stages.search.candidates import Given
from stages.search.choice import choose, keeps_budgets
from stages.search.study import importance
from stages.search.trials import results
from stages.setup.params import Recipe


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
    recipe = recipe_in_words(Recipe.model_validate(result["recipe"])) if result["recipe"] else ""
    own = {"checkpoint": f"candidate_{number}", "recipe": recipe, "state": result["state"], "why": result["why"]}
    figures = {key: round(value, 6) for key, value in result["figures"].items()}
    return Candidate.model_validate(own | figures)


def file_name(study: Study) -> str:
    """One for each model and machine; neither has a dot."""
    return f"{study.provenance.model}.{in_file_names(study.provenance.machine)}.json"


def most_taken(results: Sequence[Mapping[str, Any]]) -> float | None:
    """The most cores that other jobs took while candidates were timed; None if the system never told."""
    known = [own["cores_of_others"] for own in results if own["cores_of_others"] is not None]
    return round(max(known), 2) if known else None
