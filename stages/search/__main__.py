"""`make search`: finds recipes for this CPU, tried on pictures of their own, and writes them into params.yaml.

Killed, it goes on where it was: what it found out so far lies in `.dvc/tmp/search`, all of it in the end in
`reports/search`.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from pathlib import Path

import optuna
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import run
from stages.captioner.images import allow_large_pictures
from stages.choice.one_run import check_model
from stages.page.searches import SEARCHES, found_table, found_variants, searched_settings
from stages.records.examples import CALIBRATION, DRAFTED, EVALUATION, PICTURES, SEARCH
from stages.records.machine import describe_machine
from stages.records.metrics import read_metrics, write_metrics
from stages.records.provenance import Provenance, digest, digest_folder, of_run, of_what
from stages.search.candidates import Given, Pictures, keep_only
from stages.search.other_jobs import check_alone
from stages.search.record import file_name, study_of
from stages.search.study import open_study
from stages.search.trials import by_hand, check_pictures, prepare, search
from stages.search.variants import write_variants
from stages.setup.params import PARAMS, Params, read_params

APART = Path(".dvc/tmp/search")  # a folder that DVC keeps out of Git and out of its own sight


def whose(params: Params) -> Provenance:
    """Whose what is found is."""
    what = of_what(params.model, BASELINE, EVALUATION)
    return of_run(searched_settings(params, read_metrics(PICTURES)), what, describe_machine())


def same_study(owner: Provenance, params: Params) -> str:
    """A digest of all that candidates and what is found out about them hang on: with the same, a search goes on."""
    variants = {name: recipe.model_dump() for name, recipe in by_hand(params).items()}
    settings = params.search.model_dump(exclude={"minutes"})
    return digest([owner.model_dump(), digest_folder(SEARCH), settings, params.accept.model_dump(), variants])


def watched_search(study: optuna.Study, given: Given) -> None:
    """Searches under a progress bar of the time that is to be spent."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Not what others print: NNCF's progress bars, while candidates are built, are to go nowhere.
    with Progress(*columns, redirect_stdout=False) as progress:
        task = progress.add_task("searching", total=given.params.search.minutes * 60)
        search(study, given, lambda spent, what: progress.update(task, description=what, completed=spent))


def main() -> None:
    """Searches, keeps what was found in reports/search, writes it into params.yaml as variants, and prints it."""
    allow_large_pictures()
    params = read_params()
    check_model(params, BASELINE)
    check_pictures(params, SEARCH)
    alone_unknown = check_alone()
    owner = whose(params)
    folder = APART / same_study(owner, params)
    given = prepare(params, Pictures(CALIBRATION, SEARCH, DRAFTED), folder)
    study = open_study(folder / "study.db")
    watched_search(study, given)
    keep_only((), given)
    kept, recipes = study_of(study, given, owner, alone_unknown or "")
    path = SEARCHES / file_name(kept)
    write_metrics(kept.model_dump(mode="json", exclude_none=True), path)
    write_variants(recipes, PARAMS)
    found = found_table(found_variants(kept, {}, {}))
    Console(width=200, markup=False, highlight=False).print(f"\n{kept.in_words()}\n\n{found}")
    print(f"written: {path}, and as variants {PARAMS}: `dvc repro` judges them on pictures that no search has seen")


if __name__ == "__main__":
    run(main)
