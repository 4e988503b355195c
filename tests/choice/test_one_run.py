"""The stage `report`, run by hand in a checkout whose figures are not all of the run that it would be a page of."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.captioner.checkpoint import BASELINE, read_manifest, seal
from stages.captioner.command_line import LONGEST_MESSAGE, InputError
from stages.choice.one_run import gather
from stages.page.kept import settings_of
from stages.page.searches import searched_settings
from stages.page.sweeps import SWEEPS, read_sweeps, strange_sweeps, swept_settings
from stages.records.examples import EVALUATION, PICTURES
from stages.records.metrics import REPORTS, read_metrics, write_metrics
from stages.records.provenance import KEY, digest, digest_code
from stages.report import main
from stages.setup.params import read_params
from tests.conftest import PROJECT, RunStage, assert_one_sentence
from tests.page.pages import make_project, say_whose
from tests.page.test_searches import SEARCH

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


def of_no_variant(project: Path) -> None:
    setting("variants", {})(project)


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
def test_figures_of_something_else_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, said: str
) -> None:
    spoil(project)
    monkeypatch.chdir(project)
    with pytest.raises(InputError) as raised:
        gather(["baseline", "fast"], read_params(), EVALUATION, REPORTS)
    assert said in str(raised.value) and len(str(raised.value)) <= LONGEST_MESSAGE


def test_figures_of_something_else_are_not_on_the_page_and_not_let_through_the_gate(
    project: Path, run_stage: RunStage
) -> None:
    setting("decoding.beams", 3)(project)
    for arguments in ([], ["--strict"], ["--strict", "fast"]):
        said = of_another_run(FIRST, "other settings")
        assert_one_sentence(run_stage("report", *arguments, cwd=project), said)
    assert not (project / "reports/report.html").exists() and not (project / "reports/metrics").exists()


def test_captions_that_another_machine_scored_are_shown_with_its_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures(FAST, machine="Another CPU", host="0" * 16)(project)
    monkeypatch.chdir(project)
    main()
    for page in ("report.html", "report.md"):
        assert "captions were scored on Another CPU" in (project / "reports" / page).read_text()


def test_every_file_that_the_report_writes_says_whose_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    main()
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


def test_figures_of_a_variant_that_is_gone_are_named_and_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("quality", "benchmark"):
        os.rename(project / f"reports/{part}/fast.json", project / f"reports/{part}/old.json")
    (project / "reports/quality/fast.csv").rename(project / "reports/quality/old.csv")
    of_no_variant(project)
    monkeypatch.chdir(project)
    main()
    output = capsys.readouterr().out
    for file in ("benchmark/old.json", "quality/old.json", "quality/old.csv"):
        assert f"reports/{file}: no variant of params.yaml has this name" in output
    assert not list((project / "reports/metrics").glob("old*"))
    assert ">old<" not in (project / "reports/report.html").read_text()


# Sweeps


KNOB = "variants.fast.quantize.float_below_db"
SWEEP = f"reports/sweeps/{KNOB}.json"


def strange() -> dict[str, str]:
    """What the report says of the sweeps of other runs, in the current folder."""
    params = read_params()
    run = gather([BASELINE.name, *params.variants], params, EVALUATION, REPORTS).provenance
    return strange_sweeps(read_sweeps(SWEEPS), run, params, read_metrics(PICTURES))


@pytest.fixture
def swept(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a sweep of its own run, as the current folder."""
    monkeypatch.chdir(project)
    params = read_params()
    settings = swept_settings(KNOB, ["fast"], params, read_metrics(PICTURES))
    run = gather([BASELINE.name, "fast"], params, EVALUATION, REPORTS).provenance
    own = run.model_copy(update={"settings": digest(settings)})
    row = {"value": 9, "checkpoint": "fast", "speedup": 1.5, "speedup_ci_low": 1.0, "speedup_ci_high": 2.0}
    write_metrics({"knob": KNOB, "provenance": own.model_dump(), "values": [row]}, Path(SWEEP))
    return project


def then(spoil: Spoil) -> Spoil:
    """A change that `dvc repro` followed, so that all else is of the new state."""

    def changed(project: Path) -> None:
        spoil(project)
        say_whose(project)

    return changed


def other_files_behind_the_pictures(project: Path) -> None:
    write_metrics(read_metrics(project / PICTURES) | {"sha256": "0" * 64}, project / PICTURES)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (then(renamed), "It is of demo on A CPU 1/2/3 avx2 x2, with another model than this run."),
        (then(other_weights), "with another model's weights than"),
        (then(another_reference), "with other pictures than"),
        (then(other_files_behind_the_pictures), "with other settings than"),
        (then(setting("models.demo.dataset.calibration", 2)), "with other settings than"),
        (then(setting("decoding.beams", 2)), "with other settings than"),
        (then(setting("benchmark.sessions", 9)), "with other settings than"),
        (then(setting("evaluation.bootstrap_samples", 123)), "with other settings than"),
        (then(setting("variants.fast.equalize", False)), "with other settings than"),
        (then(setting("variants.fast.quantize.weight_bits", 8)), "with other settings than"),
        (of_no_variant, "with other settings than"),
        (then(host(cpu="Another CPU")), "with another machine and other versions of a system or library than"),
        (then(host(python="3.99")), "with other versions of a system or library than"),
        (figures(SWEEP, code="0" * 16), "with other code than"),
        (figures(SWEEP, model="blip-base", weights="0" * 16), "It is of blip-base on A CPU"),
        (figures(SWEEP, machine="A Z80", host="0" * 16), "It is of demo on A Z80, with another machine and other"),
    ],
)
def test_a_sweep_of_another_run_is_known_as_such(swept: Path, spoil: Spoil, said: str) -> None:
    assert strange() == {}
    spoil(swept)
    ((file, sentence),) = strange().items()
    assert said in sentence and file == f"{KNOB}.json"


def test_the_knob_itself_may_be_anywhere(swept: Path) -> None:
    for spoil in (setting(KNOB, 9), setting(KNOB, None), setting("accept", {"memory_mb_at_most": 9})):
        then(spoil)(swept)
        assert strange() == {}


@pytest.mark.parametrize(
    "knob", ["", ".", "decoding", "decoding.beams.x.y", "models.demo", "variants.none.x", "files.sha256.0"]
)
def test_whatever_a_file_calls_its_knob_it_is_compared(swept: Path, knob: str) -> None:
    write_metrics(read_metrics(Path(SWEEP)) | {"knob": knob}, Path(SWEEP))
    assert "other settings" in strange()[f"{KNOB}.json"]


def section(name: str) -> str:
    page = Path("reports/report.html").read_text()
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_a_sweep_of_another_run_stands_apart_under_its_owners_name(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    assert "1.50" in section("sweeps") and "Of demo on A CPU 1/2/3 avx2 x2; from" in section("sweeps")
    assert not section("other-sweeps") and "sweeps" not in capsys.readouterr().out

    figures(SWEEP, model="mine", weights="0" * 16)(swept)
    main()
    assert not section("sweeps") and 'href="#sweeps"' not in Path("reports/report.html").read_text()
    assert "It is of mine on A CPU" in section("other-sweeps") and "1.50" in section("other-sweeps")
    assert f"{SWEEP}: It is of mine on" in capsys.readouterr().out

    content = read_metrics(Path(SWEEP))
    del content[KEY]
    for old in ({"machine": "AMD EPYC x2"}, {}, {KEY: None}):
        write_metrics(content | old, Path(SWEEP))
        main()
        assert not section("sweeps") and "1.50" not in section("other-sweeps") and "<svg" not in section("other-sweeps")
        assert KNOB in section("other-sweeps") and "so it is not shown: make it again, or delete it" in section(
            "other-sweeps"
        )
        assert f"{SWEEP}: It doesn't say whose it is" in capsys.readouterr().out


# Waterfalls


WATERFALL = "reports/waterfalls/demo.fast.a-cpu.json"
SPEED = {"speedup": 1.5, "speedup_ci_low": 1.0, "speedup_ci_high": 2.0}


@pytest.fixture
def fallen(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a waterfall of its own run, as the current folder."""
    monkeypatch.chdir(project)
    params = read_params()
    run = gather([BASELINE.name, "fast"], params, EVALUATION, REPORTS).provenance
    settings = settings_of(["fast"], params, read_metrics(PICTURES))
    own = run.model_copy(update={"settings": digest(settings)})
    step = {"checkpoint": "step1_onnxruntime", "added": ["runtime: onnxruntime"]} | SPEED
    write_metrics({"variant": "fast", "provenance": own.model_dump(), "steps": [step]}, Path(WATERFALL))
    return project


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (then(renamed), "It is of demo on A CPU 1/2/3 avx2 x2, with another model than this run."),
        (then(another_reference), "with other pictures than"),
        (then(setting("benchmark.sessions", 9)), "with other settings than"),
        (then(setting("variants.fast.quantize.weight_bits", 8)), "with other settings than"),
        (of_no_variant, "with other settings than"),
        (then(host(caps={"OV_CPU_MAX_ISA": "avx2"})), "It is of demo on A CPU 1/2/3 avx2 x2, with another machine and"),
        (figures(WATERFALL, code="0" * 16), "with other code than"),
        (figures(WATERFALL, model="mine", weights="0" * 16), "It is of mine on A CPU"),
    ],
)
def test_a_waterfall_of_another_run_stands_apart_under_its_owners_name(
    fallen: Path, spoil: Spoil, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    assert "1.50" in section("waterfall") and not section("other-waterfalls")
    own, _, others = Path("reports/report.md").read_text().partition("## Waterfalls of other runs")
    assert "| `runtime: onnxruntime` | 1.50 (1.00–2.00) |\n" in own.partition("## Waterfall\n")[2] and not others
    assert "waterfalls" not in capsys.readouterr().out

    spoil(fallen)
    main()
    assert not section("waterfall") and said in section("other-waterfalls") and "1.50" in section("other-waterfalls")
    own, _, others = Path("reports/report.md").read_text().partition("## Waterfalls of other runs")
    assert "runtime: onnxruntime" not in own and "| `runtime: onnxruntime` | 1.50 (1.00–2.00) |\n" in others
    assert f"{WATERFALL}: It is of" in capsys.readouterr().out


# Code


def test_the_codes_digest_is_of_the_modules_that_the_stages_name(tmp_path: Path) -> None:
    stages = {"evaluate": {"deps": ["data", "stages/a.py", "stages/b"]}, "benchmark": {"do": {"deps": ["stages/c.py"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / ".dvcignore").write_text("/stages/b/commands\n")
    for folder in ("stages/b/__pycache__", "stages/b/commands"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a.py", "b/own.py", "b/commands/own.py", "c.py", "d.py"):
        (tmp_path / "stages" / name).write_text(name)

    def taken(*stages: str) -> str:
        digest_code.cache_clear()
        return digest_code(*stages, project=tmp_path)

    both, one = taken("evaluate", "benchmark"), taken("evaluate")
    assert both != one
    (tmp_path / "stages/d.py").write_text("not named")
    (tmp_path / "stages/b/__pycache__/own.pyc").write_text("compiled")
    (tmp_path / "stages/b/commands/own.py").write_text("no stage runs it, and DVC looks away")
    assert (taken("evaluate", "benchmark"), taken("evaluate")) == (both, one)
    (tmp_path / "stages/c.py").write_text("changed")
    assert taken("evaluate", "benchmark") != both and taken("evaluate") == one
    (tmp_path / "stages/b/own.py").write_text("changed")
    assert taken("evaluate") != one
    digest_code.cache_clear()
    assert digest_code("evaluate") == digest_code("evaluate_baseline", project=PROJECT)


# Searches


FOUND = "reports/search/demo.a-cpu.json"


@pytest.fixture
def searched(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a search of its own run, as the current folder."""
    monkeypatch.chdir(project)
    params = read_params()
    run = gather([BASELINE.name, "fast"], params, EVALUATION, REPORTS).provenance
    settings = searched_settings(params, read_metrics(PICTURES))
    own = run.model_copy(update={"settings": digest(settings)}).model_dump()
    write_metrics(SEARCH | {"provenance": own}, Path(FOUND))
    return project


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (then(setting("search.minutes", 9)), ""),
        (then(setting("variants.fast.quantize.weight_bits", 8)), ""),
        (then(setting("benchmark.sessions", 9)), "with other settings than"),
        (then(renamed), "It is of demo on A CPU 1/2/3 avx2 x2, with another model than this run."),
        (figures(FOUND, code="0" * 16), "with other code than"),
    ],
)
def test_a_search_of_another_run_stands_apart_under_its_owners_name(
    searched: Path, spoil: Spoil, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(searched)
    main()
    own, apart = section("search"), section("other-searches")
    assert (bool(own), bool(apart)) == (not said, bool(said)) and "candidate_4" in own + apart and said in apart
    report = Path("reports/report.md").read_text()
    assert (
        "## Searches of other runs" if said else "## Search\n"
    ) in report and "| found_fast | to search on" in report
    assert (f"{FOUND}: It is of" in capsys.readouterr().out) == bool(said)
