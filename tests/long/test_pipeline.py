"""The pipeline as its users run it: real `dvc repro` in copies of this project, with small settings."""

import contextlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from stages.captioner.checkpoint import read_manifest
from stages.choice.one_run import gather
from stages.page.sweeps import SWEEPS, read_sweeps, strange_sweeps
from stages.records.examples import EVALUATION, PICTURES
from stages.records.metrics import read_metrics
from stages.report import as_text
from stages.setup.params import read_params
from tests.projects import VARIANTS, change, commit, copy_project, repro, shell

REPORTS = (
    "reports/plots/speed.json",
    "reports/report.md",
    "reports/report.html",
    "reports/speed.png",
    "reports/examples.png",
)


def drawn_by_dvc(project: Path, command: str) -> set[str]:
    """The revisions in every plot of `dvc plots show` or `diff`, whose axes and titles are asserted to be filled in."""
    output = json.loads(shell(project, "dvc", "plots", command, "--json"))
    assert "errors" not in output
    assert output["data"].keys() == {"Speed and quality", "Latency by part", "Agreement"}
    revisions = set()
    for [plot] in output["data"].values():
        drawing = plot["content"]
        axes = drawing["spec"]["encoding"]
        names = [drawing["title"]["text"], axes["x"]["title"], axes["y"]["title"]]
        assert all(names) and not any("DVC_METRIC" in name for name in names)
        rows = drawing["data"]["values"]
        assert {row["checkpoint"] for row in rows} - {"baseline"} == set(VARIANTS)
        revisions |= {row["rev"] for row in rows}
    return revisions


def each(stage: str) -> list[str]:
    return [f"{stage}@{variant}" for variant in VARIANTS]


def test_a_name_that_dvc_can_not_look_up_is_one_sentence_of_ours(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["models"]["blip-v1.5"] = params["models"]["demo"]
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"model": "blip-v1.5"}))
    with pytest.raises(AssertionError, match=r"blip-v1\.5.*a name is up to 64 letters"):
        repro(project)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def test_the_first_run_runs_everything_and_reports(project: Path) -> None:
    ran, output = repro(project)
    assert ran == sorted(
        [
            *("download", "dataset", "draft", "host", "peaks", "evaluate_baseline", "benchmark_baseline", "report"),
            *("contenders", "final"),
            *(name for stage in ("optimize", "evaluate", "benchmark") for name in each(stage)),
        ]
    )
    metrics = {path.stem: json.loads(path.read_text()) for path in (project / "reports/metrics").iterdir()}
    assert metrics.keys() == {"baseline", *VARIANTS, "recommendation"}
    for name in ("baseline", *VARIANTS):
        assert f"{metrics[name]['speedup']:.2f}x" in output
    for name in VARIANTS:
        quality = json.loads((project / f"reports/quality/{name}.json").read_text())
        worst = read_manifest(project / "models" / name).worst_int8_layer
        assert worst and quality["worst_int8_layer_db"] == worst[1]
        assert quality["images"] == 10 and metrics[name]["speedup"] > 0
    report = (project / "reports/report.md").read_text(encoding="utf-8")
    host = json.loads((project / "reports/host.json").read_text())
    assert report.index(host["cpu"]) < report.index("| openvino_int8 |") < report.index("## What this means")
    for path in REPORTS:
        assert (project / path).stat().st_size > 300
    heading, *rows = shell(project, "dvc", "metrics", "show").splitlines()
    assert heading.split()[0] == "Path" and "speedup" in heading.split()
    assert [row.split()[0] for row in rows] == [f"reports/metrics/{name}.json" for name in sorted(metrics)]
    assert drawn_by_dvc(project, "show") == {"workspace"}
    # The first thing on the page and the last in the terminal.
    recommendation = json.loads((project / "reports/recommendation.json").read_text())
    assert recommendation["checkpoint"] == metrics["recommendation"]["ship"] == "openvino_int8"
    assert report.splitlines()[2] == f"**{as_text(recommendation['sentence'])}**"
    assert output.index("the first evaluation picture") < output.index("Ship openvino_int8: ")


def test_a_second_run_runs_only_host(project: Path) -> None:
    assert repro(project)[0] == ["host"]


def test_what_the_workflow_runs_is_there_and_writes_nothing_anew(project: Path, tmp_path: Path) -> None:
    ship = project / "reports/metrics/recommendation.json"
    recommended = ship.read_text()
    for text in (
        '{"ship": "none"}',
        recommended,
    ):  # what is on the target branch, and what the pull request makes of it
        ship.write_text(text)
        commit(project)
    [workflow] = (project / ".github/workflows").iterdir()
    steps = yaml.safe_load(workflow.read_text())["jobs"]["budgets"]["steps"]
    install, *commands, comment = [step["run"] for step in steps if "run" in step]
    assert (project / install.removeprefix("pip install -r ")).is_file()
    assert all(f"--body-file {name}" in comment for name in re.findall(r"> (\S+\.md)", commands[-1]))
    for command in commands:
        before = read_reports(project)
        shell(project, "env", f"GITHUB_STEP_SUMMARY={tmp_path / 'summary.md'}", "bash", "-e", "-c", command)
        assert command == "dvc repro" or read_reports(project) == before
    summary = (tmp_path / "summary.md").read_text()
    assert re.search(r"recommendation\.json +\| ship +\| none +\| openvino_int8 ", summary)
    (project / "changes.md").unlink()


def read_reports(project: Path) -> dict[Path, tuple[int, bytes]]:
    files = [path for path in (project / "reports").rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_variants_knob_reruns_that_variant_and_the_report(project: Path) -> None:
    commit(project)
    change(project, {"variants.openvino_int8.prune": {"method": "l1_unstructured", "amount": 0.99}})
    ran, _ = repro(project)
    names = [f"{stage}@openvino_int8" for stage in ("benchmark", "evaluate", "optimize")]
    assert ran == sorted([*names, "contenders", "host", "report"]), "there is nothing to settle, as before"
    lines = shell(project, "dvc", "metrics", "diff").splitlines()
    assert any(line.split()[:2] == ["reports/metrics/openvino_int8.json", "speedup"] for line in lines)
    assert max(map(len, lines)) <= 120
    assert any(line.split()[:2] == ["reports/metrics/recommendation.json", "ship"] for line in lines)
    assert drawn_by_dvc(project, "diff") == {"HEAD", "workspace"}

    # Captions that fell to pieces are refused, on the page and by the gate.
    quality = json.loads((project / "reports/quality/openvino_int8.json").read_text())
    assert quality["same_caption"] == 0
    assert "- Refused: openvino_int8, as " in (project / "reports/report.md").read_text(encoding="utf-8")
    gate = (sys.executable, "-m", "stages.report", "--strict")
    for names in (["openvino_int8"], []):
        with pytest.raises(AssertionError, match=r": 1\n\s*error: openvino_int8 is refused, as captions"):
            shell(project, *gate, *names)
    with pytest.raises(AssertionError, match=r"params\.yaml has no variant openvino"):
        shell(project, *gate, "openvino")
    with pytest.raises(AssertionError, match="name some only with --strict"):
        shell(project, *gate[:-1], "openvino_int8")
    path = project / "reports/quality/openvino_int8.json"  # as if it were another run's, or changed by hand
    own = path.read_text()
    path.write_text(json.dumps(quality | {f"same_caption{end}": 1.0 for end in ("", "_ci_low", "_ci_high")}))
    with pytest.raises(AssertionError, match="not of what is here, as evaluate@openvino_int8 would have to run again"):
        shell(project, *gate)
    path.write_text(own)


def test_a_decoding_setting_reaches_checkpoints_and_downloads_nothing(project: Path) -> None:
    change(project, {"decoding.beams": 2})
    stages = [stage for name in ("optimize", "evaluate", "benchmark") for stage in each(name)]
    *_, changed = shell(project, "dvc", "status", "--json").splitlines()
    assert json.loads(changed).keys() - {"host"} == {
        *stages,
        "draft",
        "evaluate_baseline",
        "benchmark_baseline",
        "final",
    }
    with pytest.raises(AssertionError, match=r"is of another run .*, which had other settings: run `dvc repro`"):
        shell(project, "python", "-m", "stages.report", "--strict")
    shell(project, "dvc", "repro", *each("optimize"))
    assert read_manifest(project / "models/openvino_int8").decoding.beams == 2
    change(project, {"decoding.beams": 1})
    assert repro(project)[0] == ["host"], "what was made with it before comes from DVC's cache"


def test_a_new_variant_is_a_few_lines_of_params(project: Path) -> None:
    variants = yaml.safe_load((project / "params.yaml").read_text())["variants"]
    change(project, {"variants.pruned": {"prune": {"method": "l1_unstructured", "amount": 0.2}}})
    *_, changed = shell(project, "dvc", "status", "--json").splitlines()
    new = [f"{stage}@pruned" for stage in ("optimize", "evaluate", "benchmark")]
    assert json.loads(changed).keys() - {"host"} == {*new, "contenders", "report"}
    assert "Running stage 'evaluate@pruned'" in shell(project, "dvc", "repro", "evaluate@pruned")
    assert json.loads((project / "reports/quality/pruned.json").read_text())["images"] == 10
    change(project, {"variants": {name: recipe for name, recipe in variants.items() if name != "pruned"}})
    for file in (project / "reports/quality").glob("pruned.*"):
        file.unlink()  # the report depends on the folder


def test_a_sweep_reads_real_figures_and_builds_nothing_that_did_not_change(project: Path) -> None:
    settings, status = (project / "params.yaml").read_bytes(), shell(project, "git", "status", "--porcelain")
    knob = "variants.openvino_int8.quantize.float_below_db"
    value = yaml.safe_load(settings)["variants"]["openvino_int8"]["quantize"]["float_below_db"]
    output = shell(project, "python", "-m", "stages.sweep", knob, str(value))
    assert [line.strip() for line in output.splitlines() if line.startswith("  ") and "@" in line] == []
    written = json.loads((project / f"reports/sweeps/{knob}.json").read_text())
    [row] = written["values"]
    assert written["provenance"]["model"] == "demo"
    with contextlib.chdir(project):
        run = gather(["baseline", "openvino_int8"], read_params(), EVALUATION, Path("reports"))
        sweeps = {f"{knob}.json": read_sweeps(SWEEPS)[f"{knob}.json"]}
        assert strange_sweeps(sweeps, run.provenance, read_params(), read_metrics(PICTURES)) == {}, "it is this run's"
    figures = {
        **json.loads((project / "reports/benchmark/openvino_int8.json").read_text()),
        **json.loads((project / "reports/quality/openvino_int8.json").read_text()),
    }
    assert row.pop("value") == value and row.pop("checkpoint") == "openvino_int8"
    assert {"speedup_ci_low", "cider_change_ci_high", "same_caption", "kl_ci_low", "checkpoint_mb"} < row.keys()
    assert row.items() <= figures.items()
    for file in (project / "reports/sweeps").glob(f"{knob}.*"):
        file.unlink()
    assert (project / "params.yaml").read_bytes() == settings
    assert shell(project, "git", "status", "--porcelain") == status


def test_pulled_checkpoints_are_not_rebuilt(project: Path, tmp_path: Path) -> None:
    commit(project)
    shell(project, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    commit(project)
    shell(project, "dvc", "push")
    shell(tmp_path, "git", "clone", "-q", str(project), "clone")
    clone = tmp_path / "clone"
    shell(clone, "dvc", "config", "cache.type", "symlink")
    shell(clone, "dvc", "pull")
    assert (clone / "models/openvino_int8/checkpoint.json").is_symlink()
    ran, _ = repro(clone)
    assert ran == ["host"]
    picture = next((clone / "data/eval/images").iterdir())
    captions = shell(
        clone, sys.executable, "-m", "stages.caption", "--checkpoint", "models/openvino_int8", str(picture)
    )
    assert captions.startswith(f"{picture}: ")

    # What the project's host was is not what the clone's is: only times, and what is made of them, are out of date.
    host = project / "reports/host.json"
    host.write_text(json.dumps(json.loads(host.read_text()) | {"cpu": "another"}))
    timed = {"host", "peaks", "benchmark_baseline", *each("benchmark"), "final", "report"}
    shell(project, "dvc", "commit", "--force", *timed)
    commit(project)
    shell(clone, "git", "pull", "-q")
    shell(clone, "dvc", "repro", "host")
    *_, changed = shell(clone, "dvc", "status", "--json").splitlines()
    assert json.loads(changed).keys() == timed
