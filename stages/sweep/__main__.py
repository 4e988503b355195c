"""Quality and speed over the values of one knob: `make sweep KNOB=… VALUES=…`."""

import signal
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from stages.captioner.command_line import InputError, run
from stages.page.sweeps import SWEEPS, Failed, Measured, Sweep, swept_settings
from stages.records.examples import PICTURES
from stages.records.machine import describe_machine
from stages.records.metrics import read_metrics
from stages.records.provenance import of_run, take_provenance
from stages.setup.params import Params, read_params
from stages.sweep.curve import check_free, print_curve, to_row, write_curve
from stages.sweep.experiments import clone_of_checkout, find, go_on_from, name_experiments, read_figures, run_experiment
from stages.sweep.knob import Number, reached, vary


def sweep(knob: str, settings: dict[Number, Params]) -> Sweep:
    """Runs what is not done yet, one value after the other; finds a row for each checkpoint that the knob changes,
    or for a value that failed its reason, by value ascending."""
    stages = reached(knob, next(iter(settings.values())))
    # First the value that params.yaml has, as DVC may have its figures already.
    here = read_params()
    order = sorted(settings, key=lambda value: settings[value] != here)
    rows: list[Measured | Failed] = []
    what = {"model": here.model}
    with clone_of_checkout() as clone:
        names = name_experiments(clone, knob, settings, list(stages))
        done = {value: commit for value in settings if (commit := find(names[value]))}
        for commit in list(done.values())[:1]:
            go_on_from(clone, commit)
        for number, value in enumerate(order, 1):
            name = names[value]
            print(f"{number} of {len(settings)}: {name}{', done before' if value in done else ''}", flush=True)
            try:
                commit = done.get(value) or run_experiment(
                    clone, name, knob.split("."), value, settings[value], list(chain(*stages.values()))
                )
                figures = {checkpoint: read_figures(commit, checkpoint) for checkpoint in stages}
                own = take_provenance(figures[next(iter(stages))]["benchmark"], Path(name))
                what = own.model_dump(include={"model", "weights", "pictures"})
                rows += [to_row(value, checkpoint, each) for checkpoint, each in figures.items()]
            except InputError as error:
                print(f"  failed: {error}", flush=True)
                rows.append(Failed(value=value, failed=str(error)))
        pictures = read_metrics(clone / PICTURES)
    found = Sweep(knob=knob, values=sorted(rows, key=lambda row: float(row.value)))
    same = swept_settings(knob, found.checkpoints(), here, pictures)
    return found.model_copy(update={"provenance": of_run(same, what, describe_machine())})


def main(
    knob: Annotated[str, typer.Argument(help="path of a number in params.yaml, in a recipe or in decoding")],
    values: Annotated[str, typer.Argument(help="numbers with commas between")],
) -> None:
    """Writes reports/sweeps/KNOB.json, .csv and .png, and prints the table; exit status 1 if a value failed."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # so that what was started ends, too
    settings = vary(knob, values)
    check_free(knob)
    try:
        found = sweep(knob, settings)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on behind the values that are done")
        raise
    write_curve(found)
    print_curve(found)
    print(f"written: {', '.join(sorted(map(str, SWEEPS.glob(f'{knob}.*'))))}")
    if failed := [str(own.value) for own in found.failed()]:
        raise InputError(
            f"{len(failed)} of {len(settings)} values failed ({', '.join(failed)}): the same command tries them again"
        )


if __name__ == "__main__":
    run(main)
