"""The stage `report`, run by hand in a checkout whose figures are not all of the run that it would be a page of."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.captioner.checkpoint import read_manifest, seal
from stages.host import PICTURES
from stages.measure.metrics import read_metrics, write_metrics
from stages.measure.provenance import KEY, digest, digest_code
from stages.page.sweeps import Sweep, swept_settings
from stages.params import read_params
from tests.conftest import PROJECT, RunStage, assert_one_sentence
from tests.page.pages import make_project, say_whose

FAST, TIMES = "reports/quality/fast.json", "reports/benchmark/fast.json"
FIRST, FIRST_TIMES = "reports/quality/baseline.json", "reports/benchmark/baseline.json"
Spoil = Callable[[Path], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def setting(keys: str, value: Any) -> Spoil:
    """Sets a key of params.yaml, with dots."""

    def spoil(project: Path) -> None:
        params = yaml.safe_load((project / "params.yaml").read_text())
        *groups, last = keys.split(".")
        group = params
        for key in groups:
            group = group[key]
        group[last] = value
        (project / "params.yaml").write_text(yaml.safe_dump(params))

    return spoil


def renamed(project: Path) -> None:
    models = yaml.safe_load((project / "params.yaml").read_text())["models"]
    setting("models.mine", models["demo"])(project)
    setting("model", "mine")(project)


def figures(file: str, **changed: Any) -> Spoil:
    """Changes what a file of figures says of whose they are; None takes it away."""

    def spoil(project: Path) -> None:
        content = read_metrics(project / file)
        own = {key: value for key, value in (content[KEY] | changed).items() if value is not None}
        write_metrics(content | {KEY: own}, project / file)

    return spoil


def whose(file: str, value: Any) -> Spoil:
    return lambda project: write_metrics(read_metrics(project / file) | {KEY: value}, project / file)


def host(**changed: Any) -> Spoil:
    file = "reports/host.json"
    return lambda project: write_metrics(read_metrics(project / file) | changed, project / file)


def another_picture(project: Path) -> None:
    (project / "data/eval/images/00000.png").write_bytes(b"another")


def another_reference(project: Path) -> None:
    path = project / "data/eval/captions.json"
    path.write_text(path.read_text().replace("a dog", "a cat"))


def other_weights(project: Path) -> None:
    folder = project / "models/baseline"
    manifest = read_manifest(folder)
    (folder / "config.json").write_text('{"of": "another training"}')
    seal(folder, manifest.model_copy(update={"files": {}}))


def of_another_run(file: str, what: str) -> str:
    return f"{file} is of another run (demo on A CPU 1/2/3 avx2 x2), which had {what}: run `dvc repro`"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (setting("model", "blip-base"), "made of another model (data/demo) than params.yaml chooses (Salesforce/"),
        (renamed, of_another_run(FIRST, "another model")),
        (other_weights, of_another_run(FIRST, "another model's weights")),
        (another_picture, of_another_run(FIRST, "other pictures")),
        (another_reference, of_another_run(FIRST, "other pictures")),
        (setting("decoding.beams", 3), of_another_run(FIRST, "other settings")),
        (setting("evaluation.bootstrap_samples", 123), of_another_run(FIRST, "other settings")),
        (setting("benchmark.rounds", 2), of_another_run(FIRST_TIMES, "other settings")),
        (setting("models.demo.benchmark_seconds", 2), of_another_run(FIRST_TIMES, "other settings")),
        (setting("variants.fast.equalize", False), of_another_run(FAST, "other settings")),
        (setting("variants.fast", {"runtime": "openvino"}), of_another_run(FAST, "other settings")),
        (host(cpu="Another CPU"), "which had another machine and other versions of a system or library"),
        (host(libraries={"torch": "3"}), "which had other versions of a system or library: run"),
        (figures(FAST, code="0" * 16), of_another_run(FAST, "other code")),
        (figures(TIMES, code="0" * 16), of_another_run(TIMES, "other code")),
        (figures(FAST, model="blip-base", weights="0" * 16), "had another model and another model's weights"),
        (figures("reports/peaks.json", code="0" * 16), "reports/peaks.json is of another run (A CPU 1/2/3 avx2 x2)"),
        (figures(FAST, settings=None), f"{FAST} doesn't say whose figures it holds (settings: Field required"),
        (figures(TIMES, weights="demo"), f"{TIMES} doesn't say whose figures it holds (weights: String should match"),
        (figures(TIMES, machine=["a"] * 10**5), f"{TIMES} doesn't say whose figures it holds (machine: Input should"),
        (whose(FAST, {}), f"{FAST} doesn't say whose figures it holds"),
        (whose(FAST, None), f"{FAST} doesn't say whose figures it holds"),
        (whose("reports/peaks.json", "mine"), "reports/peaks.json doesn't say whose figures it holds"),
        (lambda project: (project / TIMES).write_text("<<<<<<< HEAD\n"), f"{TIMES} is not valid JSON: run `dvc repro`"),
    ],
)  # fmt: skip
def test_figures_of_something_else_are_never_on_the_page(
    project: Path, run_stage: RunStage, spoil: Spoil, said: str
) -> None:
    spoil(project)
    for arguments in ([], ["--strict"]):
        assert_one_sentence(run_stage("report", *arguments, cwd=project), said)
    assert not (project / "reports/report.html").exists() and not (project / "reports/metrics").exists()


def test_captions_that_another_machine_scored_are_shown_with_its_name(project: Path, run_stage: RunStage) -> None:
    figures(FAST, machine="Another CPU", host="0" * 16)(project)
    process = run_stage("report", cwd=project)
    assert process.returncode == 0, process.stderr
    for page in ("report.html", "report.md"):
        assert "captions were scored on Another CPU" in (project / "reports" / page).read_text()


def test_every_file_that_the_report_writes_says_whose_it_is(project: Path, run_stage: RunStage) -> None:
    process = run_stage("report", cwd=project)
    assert process.returncode == 0, process.stderr
    for name in ("baseline", "fast", "recommendation"):
        assert read_metrics(project / f"reports/metrics/{name}.json")["model"] == "demo"
    own = read_metrics(project / "reports/recommendation.json")[KEY]
    assert own["model"] == "demo" and own["machine"] == "A CPU 1/2/3 avx2 x2"
    for page in ("report.html", "report.md"):
        text = (project / "reports" / page).read_text()
        assert all(own[key] in text for key in ("weights", "pictures", "settings", "code"))
        assert KEY not in text, "the digests are among the figures"
    for rows in ("speed", "parts", "differences"):
        assert all("demo" in str(row) for row in json.loads((project / f"reports/plots/{rows}.json").read_text()))


def test_figures_of_a_variant_that_is_gone_are_named_and_not_shown(project: Path, run_stage: RunStage) -> None:
    for part in ("quality", "benchmark"):
        os.rename(project / f"reports/{part}/fast.json", project / f"reports/{part}/old.json")
    (project / "reports/quality/fast.csv").rename(project / "reports/quality/old.csv")
    setting("variants", {})(project)
    process = run_stage("report", cwd=project)
    assert process.returncode == 0, process.stderr
    for file in ("benchmark/old.json", "quality/old.json", "quality/old.csv"):
        assert f"reports/{file}: no variant of params.yaml has this name" in process.stdout
    assert not list((project / "reports/metrics").glob("old*"))
    assert ">old<" not in (project / "reports/report.html").read_text()


# Sweeps


KNOB = "variants.fast.quantize.float_below_db"


def add_sweep(project: Path, run_stage: RunStage) -> Path:
    """A sweep of the run that the checkout's figures are of: its own, as the report says."""
    process = run_stage("report", cwd=project)
    assert process.returncode == 0, process.stderr
    own = read_metrics(project / "reports/recommendation.json")[KEY]
    params = read_params(project / "params.yaml")
    settings = swept_settings(KNOB, ["fast"], params, read_metrics(project / PICTURES))
    row = {"value": 9, "checkpoint": "fast", "speedup": 1.5, "speedup_ci_low": 1.0, "speedup_ci_high": 2.0}
    content = {"knob": KNOB, "provenance": own | {"settings": digest(settings)}, "values": [row]}
    path = project / f"reports/sweeps/{KNOB}.json"
    write_metrics(content, path)
    Sweep.model_validate_json(path.read_bytes())
    return path


def shown_as(project: Path, run_stage: RunStage) -> tuple[str, str, str]:
    """What the page has among its own sweeps, and among those of other runs, and what the terminal says."""
    process = run_stage("report", cwd=project)
    assert process.returncode == 0, process.stderr
    page = (project / "reports/report.html").read_text()
    parts = [
        page.partition(f'<section id="{name}"')[2].partition("</section>")[0] for name in ("sweeps", "other-sweeps")
    ]
    return parts[0], parts[1], process.stdout


def test_a_sweep_of_this_run_is_among_the_pages_own(project: Path, run_stage: RunStage) -> None:
    add_sweep(project, run_stage)
    setting(KNOB, 9)(project)  # the knob itself may be anywhere
    say_whose(project)
    own, others, said = shown_as(project, run_stage)
    assert KNOB in own and "Of demo on A CPU 1/2/3 avx2 x2; from" in own
    assert not others and "other-sweeps" not in (project / "reports/report.html").read_text()
    assert "sweeps" not in said


def of_other(**changed: Any) -> Spoil:
    return figures(f"reports/sweeps/{KNOB}.json", **changed)


def then(spoil: Spoil) -> Spoil:
    """A change that `dvc repro` followed, so that all else is of the new state."""

    def changed(project: Path) -> None:
        spoil(project)
        say_whose(project)

    return changed


def other_files_behind_the_pictures(project: Path) -> None:
    path = project / "data/inputs/pictures.json"
    write_metrics(read_metrics(path) | {"sha256": "0" * 64}, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (then(renamed), "It is of demo on A CPU 1/2/3 avx2 x2, with another model than this run."),
        (then(other_weights), "with another model&#39;s weights than"),
        (then(another_reference), "with other pictures than"),
        (then(other_files_behind_the_pictures), "with other settings than"),
        (then(setting("models.demo.dataset.calibration", 2)), "with other settings than"),
        (then(setting("decoding.beams", 2)), "with other settings than"),
        (then(setting("benchmark.sessions", 9)), "with other settings than"),
        (then(setting("evaluation.bootstrap_samples", 123)), "with other settings than"),
        (then(setting("variants.fast.equalize", False)), "with other settings than"),
        (then(setting("variants", {"slow": {"runtime": "openvino"}})), "with other settings than"),
        (then(host(cpu="Another CPU")), "with another machine and other versions of a system or library than"),
        (then(host(python="3.99")), "with other versions of a system or library than"),
        (of_other(code="0" * 16), "with other code than"),
        (of_other(model="blip-base", weights="0" * 16), "It is of blip-base on A CPU"),
        (of_other(machine="A Z80", host="0" * 16), "It is of demo on A Z80, with another machine and other versions"),
    ],
)  # fmt: skip
def test_a_sweep_of_another_run_stands_apart_under_its_owners_name(
    project: Path, run_stage: RunStage, spoil: Spoil, said: str
) -> None:
    path = add_sweep(project, run_stage)
    for part in ("quality", "benchmark"):  # for the variant that takes the place of the other
        for file in (project / f"reports/{part}").glob("fast.*"):
            file.with_stem("slow").write_bytes(file.read_bytes())
    spoil(project)
    own, others, output = shown_as(project, run_stage)
    assert not own and 'href="#sweeps"' not in (project / "reports/report.html").read_text()
    assert said in others and "1.50" in others and KNOB in others
    assert f"reports/sweeps/{path.name}: It is of " in output


@pytest.mark.parametrize("old", [{"machine": "AMD EPYC x2"}, {}, {"provenance": None}])
def test_a_sweep_that_does_not_say_whose_it_is_is_not_drawn(
    project: Path, run_stage: RunStage, old: dict[str, Any]
) -> None:
    path = add_sweep(project, run_stage)
    content = read_metrics(path)
    del content["provenance"]
    write_metrics(content | old, path)
    own, others, output = shown_as(project, run_stage)
    assert not own and "1.50" not in others and "<svg" not in others
    assert KNOB in others and "It doesn&#39;t say whose it is, so it is not shown: run that sweep again" in others
    assert f"reports/sweeps/{path.name}: It doesn't say whose it is" in output


# Code


def test_the_codes_digest_is_of_the_modules_that_the_stages_name(tmp_path: Path) -> None:
    stages = {"evaluate": {"deps": ["data", "stages/a.py", "stages/b"]}, "benchmark": {"do": {"deps": ["stages/c.py"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "stages/b/__pycache__").mkdir(parents=True)
    for name in ("a.py", "b/own.py", "c.py", "d.py"):
        (tmp_path / "stages" / name).write_text(name)

    def taken(*stages: str) -> str:
        digest_code.cache_clear()
        return digest_code(*stages, project=tmp_path)

    both, one = taken("evaluate", "benchmark"), taken("evaluate")
    assert both != one
    (tmp_path / "stages/d.py").write_text("not named")
    (tmp_path / "stages/b/__pycache__/own.pyc").write_text("compiled")
    assert (taken("evaluate", "benchmark"), taken("evaluate")) == (both, one)
    (tmp_path / "stages/c.py").write_text("changed")
    assert taken("evaluate", "benchmark") != both and taken("evaluate") == one
    (tmp_path / "stages/b/own.py").write_text("changed")
    assert taken("evaluate") != one
    digest_code.cache_clear()
    assert digest_code("evaluate") == digest_code("evaluate_baseline", project=PROJECT)
