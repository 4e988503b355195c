"""Pages made of made-up figures, for tests without and with a browser."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages.captioner.checkpoint import BASELINE, Manifest, seal
from stages.captioner.command_line import LONGEST_MESSAGE, InputError
from stages.choice.acceptance import Final, Recommendation
from stages.choice.one_run import OneRun, recipe_of
from stages.page.kept import Folder
from stages.page.searches import read_searches
from stages.page.sweeps import read_sweeps
from stages.page.waterfalls import read_waterfalls
from stages.page.web_page import write_page
from stages.records.examples import EVALUATION, read_examples
from stages.records.metrics import REPORTS, read_metrics, write_captions, write_metrics
from stages.records.provenance import KEY, Provenance, of_final, of_peaks, of_quality, of_times, of_what
from stages.report import gather_captions
from stages.setup.params import Recipe, read_params
from tests.conftest import PROJECT

RECOMMENDATION = Recommendation(
    checkpoint="fast",
    sentence="Ship fast: 3.00 times as fast. Nothing else is.",
    tied=[],
    refused={"small": ["it takes 900 MB of memory, and 600 are allowed"]},
    undecided={},
    pictures_needed=None,
)
HOST = {
    "cpu": "A CPU",
    "cpu_family_model_stepping": "1/2/3",
    "cores": 4,
    "usable_cores": 2,
    "memory_gb": 24,
    "operating_system": "Linux",
    "instruction_sets": ["avx2"],
    "python": "3.11",
    "libraries": {"torch": "2"},
}
WHOSE = Provenance(
    model="demo",
    weights="0" * 16,
    pictures="1" * 16,
    settings="2" * 16,
    code="3" * 16,
    machine="A CPU 1/2/3 avx2 x2",
    host="4" * 16,
)
CAPTIONS = {
    "baseline": ["a dog in the park", "a cat", "", "a bus"],
    "fast": ["a dog in the park", "a cat", "", "a bus"],
    "small": ["a brown dog in the park", "a cat", "a man", ""],
}


def keep(folder: Path, kind: str, name: str, content: dict[str, Any]) -> Path:
    """What lies in a folder of reports/ by this name, beside all else that a page is made of."""
    make_reports(folder)
    path = folder / "reports" / kind / name
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def assert_refused(file: Path, read: Callable[[Path], object], *parts: str) -> None:
    """To read the folder of a kept file ends in one sentence that names it and has all the parts."""
    with pytest.raises(InputError) as raised:
        read(file.parent)
    sentence = str(raised.value)
    assert all(part in sentence for part in (file.name, *parts)), sentence
    assert len(sentence) <= LONGEST_MESSAGE


def make_reports(
    folder: Path, captions: dict[str, list[str]] = CAPTIONS, *, captioned: bool = True, seed: int = 0
) -> Path:
    """A folder with `eval/`, as the stage `dataset` writes it, and `reports/`, as all stages before `report` do."""
    random = np.random.default_rng(seed)
    names = [f"{index:05}.png" for index in range(len(captions["baseline"]))]
    (folder / "eval/images").mkdir(parents=True)
    (folder / "reports/quality").mkdir(parents=True)
    for index, name in enumerate(names):
        Image.new("RGB", (40, 30), (60 * index % 256, 99, 120)).save(folder / "eval/images" / name)
    write_references(folder / "eval", names, ["a dog", "a man & <i>his</i> dog"] if captioned else [])
    for name, own in captions.items():
        table = pd.DataFrame({"image": names, "caption": own, "tokens": "1 2"})
        if captioned:
            table["cider"] = random.uniform(0, 5, len(own)).round(4)
        if name != "baseline":
            table["kl"] = random.uniform(0, 1, len(own)).round(6)
        write_captions(table, folder / f"reports/quality/{name}.csv")
        baseline = name == "baseline"
        write_metrics(
            some_quality(random, captioned=captioned, baseline=baseline), folder / f"reports/quality/{name}.json"
        )
        write_metrics(some_times(random), folder / f"reports/benchmark/{name}.json")
    write_metrics(HOST, folder / "reports/host.json")
    write_metrics({}, folder / "reports/contenders.json")
    write_metrics(Final().model_dump(), folder / "reports/final.json")
    (folder / "reports/final.csv").touch()
    write_metrics({"gops": {"int8": 860.0}, "read_gb_per_s": {"4": 80.0}}, folder / "reports/peaks.json")
    return folder


def write_references(folder: Path, names: Sequence[str], references: Sequence[str]) -> None:
    images = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    annotations = [{"image_id": image["id"], "caption": own} for image in images for own in references]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def some_times(random: np.random.Generator) -> dict[str, Any]:
    parts = [f"{part}_ms" for part in ("preprocess", "encode", "prefill", "token")]
    estimated = ("speedup", "latency_ms", *parts, "load_s", "throughput_images_per_s")
    figures: dict[str, Any] = {key: round(float(random.uniform(0.01, 2000)), 3) for key in estimated}
    figures |= {f"{key}_ci_low": round(0.9 * figures[key], 3) for key in estimated}
    figures |= {f"{key}_ci_high": round(1.1 * figures[key], 3) for key in estimated}
    return figures | {"peak_memory_mb": 1234.5, "checkpoint_mb": 10.25, "sessions": 3, "ended": "interval reached"}


def some_quality(random: np.random.Generator, *, captioned: bool, baseline: bool) -> dict[str, Any]:
    shares = (
        () if baseline else ("same_caption", "same_next_token", "kl", *(["cider_change_share"] if captioned else []))
    )
    figures: dict[str, Any] = {key: round(float(random.uniform(0, 1)), 6) for key in shares}
    figures |= {f"{key}_ci_low": round(figures[key] - 0.01, 6) for key in shares}
    figures |= {f"{key}_ci_high": round(figures[key] + 0.01, 6) for key in shares}
    figures |= {} if baseline else {"words_per_step": 1.594, "guesses_right": 0.4297}
    return figures | {"images": 4, **({"cider": 3.25} if captioned else {})}


def write(
    folder: Path,
    model: str = "demo",
    recommendation: Recommendation = RECOMMENDATION,
    strange: dict[str, str] | None = None,
    variants: dict[str, Recipe] | None = None,
    *,
    trained: bool = True,
) -> Path:
    """The page of what `make_reports` made; `strange` says whose the files of other runs are, `variants` what is made
    into those that a search found."""
    reports = folder / "reports"
    names = sorted(path.stem for path in (reports / "benchmark").glob("*.json"))
    metrics = {
        name: {part: read_metrics(reports / part / f"{name}.json") for part in ("benchmark", "quality")}
        for name in names
    }
    write_metrics(recommendation.model_dump(), reports / "recommendation.json")
    host, peaks = (read_metrics(reports / f"{name}.json") for name in ("host", "peaks"))
    one_run = OneRun(WHOSE.model_copy(update={"model": model}), metrics, peaks, Final(), host, [])
    tables, examples = gather_captions(names, reports), read_examples(folder / "eval")
    sweeps = Folder(reports / "sweeps", read_sweeps(reports / "sweeps"), strange or {})
    waterfalls = Folder(reports / "waterfalls", read_waterfalls(reports / "waterfalls"), strange or {})
    searches = Folder(reports / "search", read_searches(reports / "search"), strange or {})
    kept = (sweeps, waterfalls, searches)
    write_page(one_run, tables, examples, *kept, recommendation, variants or {}, reports, trained=trained)
    return reports / "report.html"


def make_project(folder: Path) -> Path:
    """A checkout as all stages before `report` leave it: params.yaml's own model, and a variant called fast."""
    folder.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["variants"] = {"fast": params["variants"]["onnx_int8"]}
    params["accept"] = {"checkpoint_mb_at_most": 300}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    make_reports(folder / "data", {name: CAPTIONS[name] for name in ("baseline", "fast")})
    (folder / "data/reports").rename(folder / "reports")
    for name, real in {"baseline": "baseline", "fast": "onnx_int8"}.items():  # whose figures are all that pages name
        for part in ("benchmark", "quality"):
            shutil.copy(PROJECT / f"reports/{part}/{real}.json", folder / f"reports/{part}/{name}.json")
    shutil.copytree(PROJECT / "data/inputs", folder / "data/inputs")
    baseline = folder / BASELINE
    baseline.mkdir(parents=True)
    (baseline / "config.json").write_text("{}")
    origin = params["models"][params["model"]]["source"]
    seal(baseline, Manifest(origin=origin, recipe={}, passes={}, libraries={}, validated_on=[]))
    say_whose(folder)
    return folder


def say_whose(folder: Path) -> None:
    """Writes into the figures of a checkout that they are of what is there."""
    params, host = read_params(folder / "params.yaml"), read_metrics(folder / REPORTS / "host.json")
    what = of_what(params.model, folder / BASELINE, folder / EVALUATION)
    _add(folder / REPORTS / "peaks.json", of_peaks(params, host))
    _add(folder / REPORTS / "final.json", of_final(params, {}, what, host))
    for name in ("baseline", *params.variants):
        recipe = recipe_of(params, name)
        _add(folder / REPORTS / f"quality/{name}.json", of_quality(params, recipe, what, host))
        _add(folder / REPORTS / f"benchmark/{name}.json", of_times(params, recipe, what, host))


def _add(path: Path, own: Provenance) -> None:
    write_metrics(read_metrics(path) | {KEY: own.model_dump(exclude_none=True)}, path)
