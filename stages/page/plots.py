"""The rows that `dvc plots` draws; dvc.yaml says how, with the templates in .dvc/plots.

They name their model and times their machine, so that a diff of two revisions draws those of two models, or of two
machines, apart.
"""

from typing import Any

from stages.captioner.checkpoint import BASELINE
from stages.records.metrics import Metrics

Rows = list[dict[str, Any]]

PARTS = {"preprocess_ms": "preprocess", "encode_ms": "encode", "prefill_ms": "first token", "token_ms": "further token"}


def speed_rows(metrics: Metrics, model: str, machine: str) -> Rows:
    """A row per checkpoint: its speed-up and its quality, with their intervals' bounds where they have some.

    Quality is CIDEr or, where nothing is captioned, the share of the baseline's captions that stay the same.
    """
    rows = []
    for name, figures in metrics.items():
        quality = {"same_caption": 1.0, **figures["quality"]}  # the baseline's own is the same by definition
        score = "cider" if "cider" in quality else "same_caption"
        bounds = _bounds(figures["benchmark"], "speedup", "speedup") | _bounds(quality, score, "quality")
        rows.append({"checkpoint": name, "machine": f"{model}, {machine}"} | bounds)
    return rows


def _bounds(figures: dict[str, Any], key: str, column: str) -> dict[str, Any]:
    ends = {"": "", "_ci_low": "_low", "_ci_high": "_high"}
    return {f"{column}{end}": figures[f"{key}{bound}"] for bound, end in ends.items() if f"{key}{bound}" in figures}


def part_rows(metrics: Metrics, model: str, machine: str) -> Rows:
    """A row per checkpoint and part of captioning, in milliseconds; none where noise hides the figure."""
    return [
        {"checkpoint": name, "kind": f"{part}, {model}, {machine}", "value": figures["benchmark"][key]}
        for key, part in PARTS.items()
        for name, figures in metrics.items()
        if key in figures["benchmark"]
    ]


def difference_rows(metrics: Metrics, model: str) -> Rows:
    """A row per variant and way in which it differs from the baseline: shares in percent, the divergence in nats."""
    rows = []
    for name, figures in metrics.items():
        if name != BASELINE.name:
            quality = figures["quality"]
            for kind, value in (
                ("other caption, %", 100 * (1 - quality["same_caption"])),
                ("other next token, %", 100 * (1 - quality["same_next_token"])),
                ("KL divergence, nats", quality["kl"]),
            ):
                rows.append({"checkpoint": name, "kind": f"{kind}, {model}", "value": round(value, 6)})
    return rows
