"""DVC stage `report`: gathers what was found, for DVC's own views and in pages and a table for people."""

import html
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from stages.captioner.checkpoint import BASELINE, read_manifest
from stages.captioner.command_line import InputError, printable, run
from stages.captioner.images import allow_large_pictures
from stages.choice.acceptance import Recommendation, budget_breaches, recommend
from stages.choice.one_run import OneRun, check_up_to_date, gather, left_over
from stages.page.charts import draw_examples, draw_speed
from stages.page.gallery import Examples, who_says
from stages.page.kept import Folder
from stages.page.plots import difference_rows, part_rows, speed_rows
from stages.page.searches import SEARCHES, Study, found_table, found_variants, read_searches, strange_searches
from stages.page.sweeps import SWEEPS, Sweep, read_sweeps, strange_sweeps
from stages.page.waterfalls import WATERFALLS, Waterfall, read_waterfalls, strange_waterfalls, waterfall_table
from stages.page.web_page import write_page
from stages.page.words import SPOILED_DB
from stages.records.examples import EVALUATION, PICTURES, read_examples
from stages.records.machine import name_machine
from stages.records.metrics import REPORTS, Metrics, read_captions, read_metrics, write_metrics, write_text
from stages.records.provenance import KEY, Provenance
from stages.setup.params import Params, Recipe, read_params

EXAMPLES = 4
# What Markdown takes for markup within a line; of underscores, those that are not inside a word.
MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
# What a person decides by: its name for `dvc metrics`, where it comes from, and the digits that are no mere noise.
DECIDING = {
    "speedup": ("benchmark", "speedup", 2),
    "latency_ms": ("benchmark", "latency_ms", 1),
    "token_ms": ("benchmark", "token_ms", 2),
    "start_s": ("benchmark", "load_s", 1),
    "memory_mb": ("benchmark", "peak_memory_mb", 0),
    "checkpoint_mb": ("benchmark", "checkpoint_mb", 1),
    "cider": ("quality", "cider", 3),
    "cider_change": ("quality", "cider_change", 3),
    "same_caption": ("quality", "same_caption", 3),
    "kl": ("quality", "kl", 5),
}


def write_views(model: str, metrics: Metrics, machine: dict[str, Any], output: Path) -> None:
    """Writes what DVC shows: metrics/<checkpoint>.json, and the rows of its plots below plots/."""
    own = {"model": model, "machine": name_machine(machine)}
    for checkpoint, figures in metrics.items():
        deciding = {
            short: round(figures[part][key], digits)
            for short, (part, key, digits) in DECIDING.items()
            if key in figures[part]
        }
        # Figures of two models, or times of two machines, are no difference between two revisions: with this, `dvc
        # metrics diff` says so.
        write_metrics(deciding | own, output / "metrics" / f"{checkpoint}.json")
    write_metrics(speed_rows(metrics, **own), output / "plots" / "speed.json")
    write_metrics(part_rows(metrics, **own), output / "plots" / "parts.json")
    write_metrics(difference_rows(metrics, model), output / "plots" / "differences.json")


def write_recommendation(recommendation: Recommendation, provenance: Provenance, output: Path) -> None:
    """Writes recommendation.json and, for `dvc metrics`, what to ship; `provenance` is of the figures behind it."""
    content = {**recommendation.model_dump(), KEY: provenance.model_dump(exclude_none=True)}
    write_metrics(content, output / "recommendation.json")
    short: dict[str, Any] = {"model": provenance.model, "ship": recommendation.checkpoint or "none"}
    if recommendation.pictures_needed:
        short["pictures_needed"] = recommendation.pictures_needed
    if recommendation.lead:
        short |= {"next_fastest": recommendation.next_fastest, **recommendation.lead.model_dump()}
    write_metrics(short, output / "metrics" / "recommendation.json")


def gather_captions(checkpoints: list[str], reports: Path) -> dict[str, pd.DataFrame]:
    """Each checkpoint's captions of the evaluation pictures and what they score, in the pictures' order."""
    return {name: read_captions(reports / "quality" / f"{name}.csv") for name in checkpoints}


def as_text(value: object) -> str:
    """A text in one line that Markdown and HTML show as it is, in table cells too."""
    line = html.escape(printable(" ".join(str(value).split())), quote=False)
    return MARKUP.sub(r"\\\g<0>", line)


def choose_examples(captions: dict[str, list[str]], count: int) -> list[int]:
    """Indices of pictures to show, half of them such that the checkpoints caption differently if there are so many."""
    pictures = range(len(captions[BASELINE.name]))
    differing = [index for index in pictures if len({own[index] for own in captions.values()}) > 1]
    agreeing = [index for index in pictures if index not in differing]
    chosen = differing[: max(count - count // 2, count - len(agreeing))]
    return sorted(chosen + agreeing[: count - len(chosen)])


def write_report(
    one_run: OneRun,
    captions: dict[str, list[str]],
    examples: Examples,
    waterfalls: Folder[Waterfall],
    searches: Folder[Study],
    recommendation: Recommendation,
    variants: dict[str, Recipe],
    output: Path,
    *,
    trained: bool,
) -> None:
    """Writes report.md and its two pictures; `trained` says whether captions mean anything."""
    own, metrics = one_run.provenance, one_run.metrics
    title = f"{own.model} on {own.machine}"
    shown = choose_examples(captions, EXAMPLES)
    draw_examples(
        [(examples[index][0], {name: own[index] for name, own in captions.items()}) for index in shown],
        title,
        output / "examples.png",
    )
    draw_speed({name: own["benchmark"] for name, own in metrics.items()}, title, output / "speed.png")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "page"), undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["as_text"] = as_text
    page = environment.get_template("report.md.jinja").render(
        own=own,
        machine=one_run.machine,
        peaks=one_run.peaks,
        scored_on=one_run.scored_on,
        metrics=metrics,
        waterfalls=waterfalls,
        waterfall_table=waterfall_table,
        searches=searches,
        found_table={
            file: found_table(found_variants(own, {} if file in searches.strange else metrics, variants))
            for file, own in searches.files.items()
        },
        said={index: who_says({name: own[index] for name, own in captions.items()}) for index in shown},
        recommendation=recommendation,
        references={index: examples[index][1] for index in shown},
        baseline=BASELINE.name,
        fastest=max(metrics, key=lambda name: float(metrics[name]["benchmark"]["speedup"])),
        trained=trained,
        captioned="cider" in metrics[BASELINE.name]["quality"],
        spoiled_db=SPOILED_DB,
    )
    write_text(page, output / "report.md")


def print_table(model: str, metrics: Metrics, captions: dict[str, list[str]]) -> None:
    """What the original one-image demo said, for every checkpoint: caption of the first picture, time, speed-up."""
    table = Table(title=f"{model}: the first evaluation picture on this CPU")
    for heading in ("checkpoint", "caption", "time", "speed-up (95 % interval)", "same caption as baseline"):
        table.add_column(heading, justify="left" if heading in ("checkpoint", "caption") else "right")
    for name, figures in metrics.items():
        times, quality = figures["benchmark"], figures["quality"]
        interval = f"{times['speedup']:.2f}x ({times['speedup_ci_low']:.2f} to {times['speedup_ci_high']:.2f})"
        agreement = "" if name == BASELINE.name else f"{quality['same_caption']:.1%}"
        table.add_row(name, printable(captions[name][0]), f"{times['latency_ms']:.1f} ms", interval, agreement)
    Console(width=max(Console().width, 110), markup=False, emoji=False).print(table)


def print_recommendation(recommendation: Recommendation) -> None:
    """What to ship, why no other, and where there is more."""
    lines = [recommendation.sentence]
    for heading, reasons in (("refused", recommendation.refused), ("undecided", recommendation.undecided)):
        lines += [f"{heading}: {name}, as {reason}" for name, own in reasons.items() for reason in own]
    console = Console(width=max(Console().width, 110), markup=False, emoji=False)
    console.print(Panel("\n".join(lines), title="Recommendation", border_style="bold"))
    console.print(f"All of it, with the pictures: open {(REPORTS / 'report.html').as_posix()} in a browser")


def print_left_out(files: list[Path], *folders: Folder[Any]) -> None:
    """Which files in reports/ are not of this run, so that they are not on its page, or apart there."""
    for path in files:
        print(f"{path}: no variant of params.yaml has this name, so it is not shown: delete it")
    for folder in folders:
        for name, sentence in folder.strange.items():
            print(f"{folder.path / name}: {sentence}")


def check_budgets(variants: list[str]) -> None:
    """Ends with status 1 and a sentence for each breach if one of the variants doesn't keep its budgets for certain.

    Writes nothing: the figures are those of the last `dvc repro`. Without names, all variants are meant.
    """
    params = read_params()
    names = [name for name in variants or params.variants if params.recipe(name)]
    metrics = gather([BASELINE.name, *names], params, EVALUATION, REPORTS).metrics
    check_up_to_date(names)
    breaches = budget_breaches(
        {name: metrics[name] for name in names}, params.accept, trained=read_manifest(BASELINE).trained
    )
    for sentence in breaches:
        print(f"error: {sentence}", file=sys.stderr)
    if breaches:
        sys.exit(1)
    print(f"within the budgets of accept in params.yaml: {', '.join(names)}")


def read_kept_figures(run: Provenance, params: Params) -> tuple[Folder[Sweep], Folder[Waterfall], Folder[Study]]:
    """Sweeps, waterfalls and searches, and which of them are not of this run."""
    pictures = read_metrics(PICTURES)
    sweeps, waterfalls, searches = read_sweeps(SWEEPS), read_waterfalls(WATERFALLS), read_searches(SEARCHES)
    return (
        Folder(SWEEPS, sweeps, strange_sweeps(sweeps, run, params, pictures)),
        Folder(WATERFALLS, waterfalls, strange_waterfalls(waterfalls, run, params, pictures)),
        Folder(SEARCHES, searches, strange_searches(searches, run, params, pictures)),
    )


def main(
    variants: Annotated[list[str] | None, typer.Argument(help="for --strict: which variants; all by default")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="write nothing, but fail where a budget is broken")] = False,
) -> None:
    """Writes the report of every variant in params.yaml."""
    if strict:
        return check_budgets(variants or [])
    if variants:
        raise InputError("the report is always of all variants: name some only with --strict")
    allow_large_pictures()
    params = read_params()
    checkpoints = [BASELINE.name, *params.variants]
    one_run = gather(checkpoints, params, EVALUATION, REPORTS)
    metrics, tables = one_run.metrics, gather_captions(checkpoints, REPORTS)
    captions = {name: list(table["caption"]) for name, table in tables.items()}
    examples = read_examples(EVALUATION)
    sweeps, waterfalls, searches = read_kept_figures(one_run.provenance, params)
    write_views(params.model, metrics, one_run.machine, REPORTS)
    trained = read_manifest(BASELINE).trained
    dataset = params.chosen_model().dataset
    recommendation = recommend(metrics, params.accept, one_run.final, params.model, dataset, trained=trained)
    write_recommendation(recommendation, one_run.provenance, REPORTS)
    written = (recommendation, params.variants, REPORTS)
    write_report(one_run, captions, examples, waterfalls, searches, *written, trained=trained)
    write_page(one_run, tables, examples, sweeps, waterfalls, searches, *written, trained=trained)
    print_table(params.model, metrics, captions)
    print_recommendation(recommendation)
    print_left_out(left_over(checkpoints, REPORTS), sweeps, waterfalls, searches)


if __name__ == "__main__":
    run(main)
