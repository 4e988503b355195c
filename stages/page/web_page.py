"""The page for a browser: `reports/report.html`, one file that needs nothing else, not even a network."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import printable
from stages.choice.acceptance import Recommendation
from stages.choice.one_run import OneRun
from stages.page.gallery import Examples, make_gallery
from stages.page.kept import Folder
from stages.page.scores import right_by_score
from stages.page.searches import Study
from stages.page.shown_searches import as_points, beaten_in_words, show_search
from stages.page.sweeps import Failed, Sweep, drawn_curves
from stages.page.trade_offs import quality_of, trade_offs
from stages.page.waterfalls import Step, Waterfall, known_columns
from stages.page.web_charts import (
    LONGEST_NAME,
    Bar,
    draw_bars,
    draw_curves,
    draw_losses,
    draw_right_by_score,
    draw_speed,
    draw_trade_off,
    slug,
)
from stages.page.words import ENDS, PARTS, SPOILED_DB, WORDS, interval, number, words_of
from stages.records.metrics import Metrics, write_text
from stages.setup.params import Recipe

HERE = Path(__file__).parent
# The columns of the table of checkpoints, where there are such figures: the JSON's folder, its key, the heading.
COLUMNS = (
    ("benchmark", "speedup", "speed-up"),
    ("benchmark", "latency_ms", "a caption takes"),
    ("quality", "cider_change_share", "CIDEr, change"),
    ("quality", "same_caption", "same captions"),
    ("quality", "words_per_step", "words a step"),
    ("benchmark", "peak_memory_mb", "memory"),
    ("benchmark", "checkpoint_mb", "on disk"),
)
COSTS = {
    "peak_memory_mb": "Memory at its peak",
    "checkpoint_mb": "Bytes on disk",
    "load_s": "From start to the first caption",
    "throughput_images_per_s": "Pictures a second, in batches",
}
SWEPT_TABLE = ("speedup", "latency_ms", "cider", "cider_change_share", "same_caption", "checkpoint_mb")
SETTING = re.compile(r"(dataset: \{.*?\})")  # what a recommendation says to write into params.yaml
LOSSES = "recover_losses"  # of a quality JSON: on the way through a distillation, (step, loss) each


class ShownSweep(NamedTuple):
    """A file of `reports/sweeps/`, as the page shows it."""

    file: str
    knob: str
    whose: str
    strange: str  # whose it is, if it is not of the page's own run; else nothing
    keys: list[str]  # of the figures in its table
    values: list[dict[str, Any]]
    failed: list[Failed]
    charts: list[tuple[str, Markup]]  # of each figure, with its words


class ShownWaterfall(NamedTuple):
    """A file of `reports/waterfalls/`, as the page shows it."""

    file: str
    variant: str
    whose: str
    strange: str  # whose it is, if it is not of the page's own run; else nothing
    columns: dict[str, str]  # figures and their headings
    steps: list[dict[str, Any]]
    chart: Markup


def write_page(
    one_run: OneRun,
    tables: dict[str, pd.DataFrame],
    examples: Examples,
    sweeps: Folder[Sweep],
    waterfalls: Folder[Waterfall],
    searches: Folder[Study],
    recommendation: Recommendation,
    variants: dict[str, Recipe],
    reports: Path,
    *,
    trained: bool,
) -> None:
    """Writes report.html; `tables` are of `stages.evaluate`, and `trained` says whether captions mean anything."""
    metrics = one_run.metrics
    shown = [show_sweep(file, own, sweeps.strange.get(file, "")) for file, own in sweeps.files.items()]
    fallen = [show_waterfall(file, own, waterfalls.strange.get(file, "")) for file, own in waterfalls.files.items()]
    searched = [
        show_search(file, own, searches.strange.get(file, ""), metrics, variants, trained=trained)
        for file, own in searches.files.items()
    ]
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "interval": interval, "words_of": words_of}
    environment.filters["pieces"] = SETTING.split
    page = environment.get_template("report.html.jinja").render(
        **_code(),
        own=one_run.provenance,
        machine=one_run.machine,
        peaks=one_run.peaks,
        scored_on=one_run.scored_on,
        pictures=len(examples),
        gallery=make_gallery(tables, examples),
        sweeps=[sweep for sweep in shown if not sweep.strange],
        strange_sweeps=[sweep for sweep in shown if sweep.strange],
        waterfalls=[own for own in fallen if not own.strange],
        strange_waterfalls=[own for own in fallen if own.strange],
        searches=[own for own in searched if not own.strange],
        strange_searches=[own for own in searched if own.strange],
        recommendation=recommendation,
        beaten=beaten_in_words(trade_offs(metrics)) if trained else "",
        metrics=metrics,
        trained=trained,
        baseline=BASELINE.name,
        columns=[column for column in COLUMNS if any(column[1] in own[column[0]] for own in metrics.values())],
        keys={part: figure_keys([own[part] for own in metrics.values()]) for part in ("benchmark", "quality")},
        charts=draw_charts(metrics, trained=trained),
        right_by_score=_right_by_score(tables, recommendation),
        limits=any(key.endswith("_limit_ms") for own in metrics.values() for key in own["benchmark"]),
        spoiled=[
            name for name, own in metrics.items() if own["quality"].get("worst_int8_layer_db", SPOILED_DB) < SPOILED_DB
        ],
        captioned="cider" in metrics[BASELINE.name]["quality"],
    )
    write_text(page, reports / "report.html")


def _visible(value: object) -> object:
    """What a page can't show as it is, such as control characters, as escapes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


def _code() -> dict[str, Any]:
    """The style sheet, the script, and the digest by which a browser runs that script and no other."""
    style, script = ((HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": Markup(style), "script": Markup(script), "script_digest": digest}


def figure_keys(checkpoints: list[dict[str, Any]]) -> list[str]:
    """The figures that any of them has, those with words here first; without the bounds of intervals."""
    found = {key for own in checkpoints for key in own if not key.endswith(ENDS)} - {LOSSES}
    return [key for key in WORDS if key in found] + sorted(found - WORDS.keys())


def _bars(metrics: Metrics, key: str) -> list[Bar]:
    """Each checkpoint's figure; of a part's milliseconds, its limit and the share of it that is reached, too."""
    part = key.removesuffix("_ms")
    return [
        Bar.of(name, times, key)._replace(limit=times.get(f"{part}_limit_ms"), share=times.get(f"{part}_share"))
        for name, times in ((name, own["benchmark"]) for name, own in metrics.items())
    ]


def draw_charts(metrics: Metrics, *, trained: bool) -> dict[str, Any]:
    """All charts but those of sweeps, by the section that they belong to."""
    control = Bar.of(BASELINE.name, metrics[BASELINE.name]["benchmark"], "speedup")
    return {
        "speed": draw_speed(
            "speed", "Speed-up of each checkpoint", _bars(metrics, "speedup"), control, words_of("speedup")
        ),
        "trade_off": _trade_off(metrics) if trained else None,
        "parts": [
            (label, draw_bars(part, label, _bars(metrics, f"{part}_ms"), words_of(f"{part}_ms")))
            for part, label in PARTS.items()
        ],
        "costs": [
            (label, draw_bars(key, label, _bars(metrics, key), words_of(key)))
            for key, label in COSTS.items()
            if any(key in own["benchmark"] for own in metrics.values())
        ],
        "losses": [
            (name, draw_losses(slug(f"losses-{name}"), f"Loss of {name}, step by step", own["quality"][LOSSES]))
            for name, own in metrics.items()
            if LOSSES in own["quality"]
        ],
    }


def _trade_off(metrics: Metrics) -> Markup:
    key, _, label = quality_of(metrics)
    found = trade_offs(metrics)
    return draw_trade_off(as_points(found), words_of("speedup"), words_of(key), label)


def _right_by_score(tables: dict[str, pd.DataFrame], recommendation: Recommendation) -> Markup | None:
    """Of the baseline and of what to ship, where captions are judged by what their scenes show."""
    names = (BASELINE.name, recommendation.checkpoint or BASELINE.name)
    curves = {name: bars for name in names if name in tables and (bars := right_by_score(tables[name]))}
    return draw_right_by_score(curves) if curves else None


def show_sweep(file: str, sweep: Sweep, strange: str = "") -> ShownSweep:
    """What the page says of a sweep: of one that doesn't say whose it is, no figures."""
    if sweep.provenance is None:
        return ShownSweep(file, sweep.knob, "", strange, [], [], [], [])
    rows, last = sweep.measured(), sweep.knob.rpartition(".")[2]
    charts = []
    for key, curves in drawn_curves(sweep).items():
        words = words_of(key)
        title = f"{words.label}, over {sweep.knob}"
        charts.append((words.label, draw_curves(slug(f"{file}-{key}"), title, curves, last, words)))
    keys = [key for key in SWEPT_TABLE if any(key in row for row in rows)]
    return ShownSweep(file, sweep.knob, sweep.whose(), strange, keys, rows, sweep.failed(), charts)


def show_waterfall(file: str, own: Waterfall, strange: str = "") -> ShownWaterfall:
    """What the page says of a waterfall."""
    rows = [step.model_dump() for step in own.steps]
    bars = [Bar.of(_short_title(step), row, "speedup") for step, row in zip(own.steps, rows, strict=True)]
    title = f"{own.variant}: speed-up of each step"
    chart = draw_speed(slug(file), title, bars, bars[0], words_of("speedup"))
    return ShownWaterfall(file, own.variant, own.whose(), strange, known_columns(rows), rows, chart)


def _short_title(step: Step) -> str:
    """What a step adds, or else the keys of that."""
    title = ", ".join(step.added) or step.checkpoint
    return title if len(title) <= LONGEST_NAME else ", ".join(part.partition(":")[0] for part in step.added)
