import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from stages.captioner.checkpoint import MANIFEST, Manifest, read_manifest, seal, verify_files
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import open_captioner
from stages.page.publish import make_card, publish
from stages.records.metrics import read_metrics, write_metrics
from stages.setup.params import Coco, Folder, Noise, Photographs, Scenes
from tests.conftest import PROJECT, Build, RunStage, assert_one_sentence
from tests.hub import Hub, serve
from tests.projects import commit, shell
from tests.readmes import code_blocks

REPOSITORY, COMMIT = "me/blip-fast", "0123456789abcdef0123456789abcdef01234567"
SALESFORCE = {"hub": "Salesforce/blip-image-captioning-base", "revision": COMMIT}
HOST = read_metrics(PROJECT / "reports/host.json")
SCENES = Scenes(kind="scenes", evaluation=200, calibration=64)
FIGURES = {
    name: {part: read_metrics(PROJECT / "reports" / part / f"{name}.json") for part in ("benchmark", "quality")}
    for name in ("baseline", "onnx_int8")
}
Header = dict[str, Any]


# Cards


def manifest_of(origin: dict[str, Any], **changes: Any) -> Manifest:
    given = {"origin": origin, "recipe": {"quantize": {"scheme": "dynamic-int8"}}, "passes": {}, "libraries": {}}
    return Manifest.model_validate({**given, "validated_on": ["avx2"], "runtime": "onnxruntime", **changes})


def card_of(manifest: Manifest, dataset: Any = SCENES, figures: Any = FIGURES) -> tuple[Header, str]:
    """A card's header as any program reads it, and its text."""
    card = make_card("onnx_int8", manifest, figures, HOST, dataset)
    opening, header, text = card.split("---\n", 2)
    assert not opening
    return yaml.safe_load(header), text


def test_the_header_says_what_a_hub_files_a_model_under() -> None:
    header, text = card_of(manifest_of(SALESFORCE), Photographs(kind="photographs"))
    assert header["license"] == "bsd-3-clause"
    assert header["base_model"] == "Salesforce/blip-image-captioning-base"
    assert header["base_model_relation"] == "quantized"
    assert header["library_name"] == "blip_on_cpu"
    assert header["pipeline_tag"] == "image-to-text"
    assert {"int8", "onnx", "blip"} <= set(header["tags"])
    assert f"commit `{COMMIT}`" in text and "BSD-3-Clause" in text
    ((result,),) = [model["results"] for model in header["model-index"]]
    assert result["dataset"]["args"] == {"pictures": FIGURES["onnx_int8"]["quality"]["images"]}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["cider"] == FIGURES["onnx_int8"]["quality"]["cider"]
    assert values.keys() == set(header["metrics"]) == {"cider", "bleu", "rouge", "exact_match", "same_caption"}


def test_huggingface_hub_reads_the_header_as_it_was_meant() -> None:
    card = ModelCard(make_card("onnx_int8", manifest_of(SALESFORCE), FIGURES, HOST, SCENES))
    assert card.data.model_name == "onnx_int8"
    assert {result.metric_name for result in card.data.eval_results} >= {"CIDEr", "BLEU-4"}
    assert str(card) == make_card("onnx_int8", manifest_of(SALESFORCE), FIGURES, HOST, SCENES)


def test_the_text_has_speed_with_its_machine_and_intervals() -> None:
    _, text = card_of(manifest_of(SALESFORCE))
    times = FIGURES["onnx_int8"]["benchmark"]
    interval = f"{times['speedup']:.2f} ({times['speedup_ci_low']:.2f}–{times['speedup_ci_high']:.2f})"
    assert f"| times as fast | **{interval}** |" in text
    assert f"after {times['sessions']} sessions: {times['ended']} |" in text
    assert HOST["cpu_family_model_stepping"] in text and HOST["libraries"]["onnxruntime"] in text
    quality = FIGURES["onnx_int8"]["quality"]
    assert f"| CIDEr | {quality['cider']:.3f} ({quality['cider_ci_low']:.3f}–{quality['cider_ci_high']:.3f}) |" in text


def test_the_demo_is_called_what_it_is() -> None:
    header, text = card_of(manifest_of({"folder": "data/demo"}))
    assert "base_model" not in header and "base_model_relation" not in header
    assert header["license"] == "mit"
    assert "**The embedded demo captioner" in text and "not Salesforce's BLIP" in text
    assert "Salesforce.com" not in text


def test_random_weights_have_times_and_no_scores() -> None:
    noise = Noise(kind="noise", evaluation=2, calibration=1)
    header, text = card_of(manifest_of({"untrained": "blip-base", "seed": 0}), noise)
    assert not {"base_model", "metrics", "model-index"} & header.keys()
    assert "random weights" in text and "times as fast" in text and "CIDEr" not in text


@pytest.mark.parametrize("origin", [{"hub": "me/mine", "revision": COMMIT}, {"folder": "data/local/mine"}])
def test_a_licence_that_is_not_known_is_not_made_up(origin: dict[str, str]) -> None:
    header, text = card_of(manifest_of(origin))
    assert "license" not in header
    assert header.get("base_model") == origin.get("hub")
    assert "BSD" not in text and "MIT" not in text and "data/local" not in text


def test_pictures_are_named_without_the_publishers_folders() -> None:
    coco = Coco(
        kind="coco", images="data/local/a/b", annotations="data/local/a/cap|`tions.json", evaluation=9, calibration=1
    )
    header, text = card_of(manifest_of(SALESFORCE), coco)
    assert header["model-index"][0]["results"][0]["dataset"]["name"] == "cap|'tions"
    assert "data/local" not in text
    agreement = ("images", "batch_size", "kl", "same")
    uncaptioned = {
        name: own | {"quality": {key: figure for key, figure in own["quality"].items() if key.startswith(agreement)}}
        for name, own in FIGURES.items()
    }
    folder = Folder(kind="folder", images="data/local/mine", evaluation=9, calibration=1)
    header, text = card_of(manifest_of(SALESFORCE), folder, uncaptioned)
    assert header["metrics"] == ["same_caption"]
    assert "CIDEr |" not in text and "| same caption as the unchanged model |" in text


def test_bits_that_need_vnni_and_captions_that_change_in_batches_are_limits() -> None:
    needs = "needs a CPU with VNNI"
    assert needs not in card_of(manifest_of(SALESFORCE, passes={"quantize": {"weight_bits": 7}}))[1]
    assert needs in card_of(manifest_of(SALESFORCE, passes={"quantize": {"weight_bits": 8}}))[1]
    quality = FIGURES["onnx_int8"]["quality"] | {"same_caption_in_batch": 0.925}
    figures = FIGURES | {"onnx_int8": FIGURES["onnx_int8"] | {"quality": quality}}
    assert "92.5 % of captions" in card_of(manifest_of(SALESFORCE), SCENES, figures)[1]


# Folders


def copying(part: str, name: str) -> dict[str, Any]:
    """A stage that, in DVC's eyes, measures a checkpoint, and in truth copies figures."""
    return {
        "cmd": f"mkdir -p reports/{part} && cp figures.json reports/{part}/{name}.json",
        "deps": ["figures.json", "models/baseline", f"models/{name}", *(["reports/host.json"] * (part == "benchmark"))],
        "outs": [{f"reports/{part}/{name}.json": {"cache": False}}],
    }


STAGES = {
    "dataset": {"cmd": "mkdir -p data/eval", "params": ["models.demo.dataset"], "outs": ["data/eval"]},
    "optimize": {
        "foreach": ["onnx_int8"],
        "do": {"cmd": "cp -r optimized models/${item}", "deps": ["optimized"], "outs": ["models/${item}"]},
    },
    "evaluate_baseline": copying("quality", "baseline"),
    "benchmark_baseline": copying("benchmark", "baseline"),
    "evaluate": {"foreach": ["onnx_int8"], "do": copying("quality", "${item}")},
    "benchmark": {"foreach": ["onnx_int8"], "do": copying("benchmark", "${item}")},
}


def of_the_demo(checkpoint: Path, target: Path) -> None:
    """A copy of a checkpoint that says that it was made of the demo."""
    shutil.copytree(checkpoint, target)
    seal(target, read_manifest(target).model_copy(update={"origin": {"folder": "data/demo"}}))


@pytest.fixture(scope="module")
def measured(build: Build, baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `dvc repro` leaves it: a checkpoint and its reports. Not to be changed."""
    folder = tmp_path_factory.mktemp("measured")
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    shutil.copy(PROJECT / "LICENSE", folder)
    of_the_demo(build("onnx_int8"), folder / "optimized")
    of_the_demo(baseline, folder / "models/baseline")
    write_metrics(FIGURES["onnx_int8"]["benchmark"] | FIGURES["onnx_int8"]["quality"], folder / "figures.json")
    write_metrics(HOST, folder / "reports/host.json")
    shell(folder, "git", "init", "-q")
    shell(folder, "dvc", "init", "-q")
    commit(folder)
    shell(folder, "dvc", "repro", "-q")
    return folder


@pytest.fixture
def project(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to stand in and to change."""
    folder = Path(shutil.copytree(measured, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


def test_a_folder_holds_the_whole_checkpoint_its_card_and_its_licence(project: Path, run_stage: RunStage) -> None:
    process = run_stage("page.publish", "onnx_int8", cwd=project)
    assert process.returncode == 0, process.stderr
    assert "hf upload OWNER/NAME dist/onnx_int8 ." in process.stdout
    folder = project / "dist/onnx_int8"
    checkpoint = project / "models/onnx_int8"
    assert (folder / MANIFEST).read_bytes() == (checkpoint / MANIFEST).read_bytes()
    verify_files(folder, read_manifest(folder))
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\n")
    assert not (checkpoint / "README.md").read_text(encoding="utf-8").startswith("---\n")
    assert (folder / "LICENSE").read_bytes() == (PROJECT / "LICENSE").read_bytes()
    written = {path.name for path in folder.iterdir()}
    assert written == {path.name for path in checkpoint.iterdir()} | {"LICENSE"}
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run_stage("page.publish", "onnx_int8", cwd=project).returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert str(project) not in (folder / "README.md").read_text(encoding="utf-8")


def another_checkpoint(project: Path) -> None:
    manifest = read_manifest(project / "models/onnx_int8")
    seal(project / "models/onnx_int8", manifest.model_copy(update={"validated_on": []}))


def another_baseline(project: Path) -> None:
    manifest = read_manifest(project / "models/baseline")
    seal(project / "models/baseline", manifest.model_copy(update={"validated_on": []}))


def another_speedup(project: Path) -> None:
    path = project / "reports/benchmark/onnx_int8.json"
    write_metrics(read_metrics(path) | {"speedup": 99}, path)


def another_score(project: Path) -> None:
    path = project / "reports/quality/onnx_int8.json"
    write_metrics(read_metrics(path) | {"cider": 99}, path)


def another_machine(project: Path) -> None:
    path = project / "reports/host.json"
    write_metrics(read_metrics(path) | {"cpu": "Another CPU"}, path)


def no_reports(project: Path) -> None:
    shutil.rmtree(project / "reports/quality")


def other_pictures(project: Path) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["models"]["demo"]["dataset"]["evaluation"] = 9
    path.write_text(yaml.safe_dump(params))


def another_model(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("model: demo", "model: blip-base"))


def damage(project: Path) -> None:
    (project / "models/onnx_int8/config.json").write_text("{}")


def no_dvc(project: Path) -> None:
    shutil.rmtree(project / ".dvc")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (another_checkpoint, "are not of this models/onnx_int8, as benchmark@onnx_int8 would have to run again"),
        (another_baseline, "are not of this models/onnx_int8, as benchmark@onnx_int8"),
        (another_speedup, "are not of this models/onnx_int8, as benchmark@onnx_int8"),
        (another_score, "are not of this models/onnx_int8, as evaluate@onnx_int8"),
        (another_machine, "are not of this models/onnx_int8, as benchmark@onnx_int8"),
        (no_reports, "are not of this models/onnx_int8, as evaluate@onnx_int8"),
        (other_pictures, "are not of this models/onnx_int8, as dataset"),
        (another_model, r"another model \(data/demo\) than params.yaml chooses \(Salesforce/"),
        (damage, "config.json is damaged"),
        (no_dvc, "DVC can't tell the state"),
    ],
)
def test_a_card_never_has_figures_of_something_else(project: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(project)
    with pytest.raises(InputError, match=message):
        publish("onnx_int8", Path("dist/onnx_int8"))
    assert not Path("dist").exists()


def test_what_can_not_be_published_is_one_sentence(project: Path, run_stage: RunStage) -> None:
    assert_one_sentence(run_stage("page.publish", "fast", cwd=project), "no variant fast", "onnx_int8")
    assert_one_sentence(run_stage("page.publish", "quantized", cwd=project), "there is no checkpoint")
    assert_one_sentence(run_stage("page.publish", "onnx_int8", cwd=project.parent), "run this from the project's top")
    another_speedup(project)
    assert_one_sentence(run_stage("page.publish", "onnx_int8", cwd=project), "dvc repro")


# There and back

UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo(sys.argv[1])
HfApi().upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])
"""
DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], local_dir=sys.argv[2] or None))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub without any model yet."""
    (tmp_path / "hub").mkdir()
    with serve(REPOSITORY, COMMIT, tmp_path / "hub") as server:
        yield server


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a few lines with huggingface_hub, as it reads the environment once."""

    def run(code: str, *arguments: object, token: str = "") -> "subprocess.CompletedProcess[str]":
        given = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_token"))}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**clean, **given, "PYTHONPATH": str(PROJECT)} | ({"HF_TOKEN": token} if token else {}),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    return run


@pytest.mark.parametrize("name", ["quantized", "onnx_int8", "openvino_int8"])
@pytest.mark.parametrize("into_folder", [False, True])
def test_what_was_uploaded_and_downloaded_verifies_and_captions_the_same(
    client: Callable[..., "subprocess.CompletedProcess[str]"],
    hub: Hub,
    build: Build,
    pictures: list[Image.Image],
    tmp_path: Path,
    name: str,
    into_folder: bool,
) -> None:
    folder = tmp_path / "published"
    of_the_demo(build(name), folder)
    manifest = read_manifest(folder)
    figures = {"baseline": FIGURES["baseline"], name: FIGURES["onnx_int8"]}
    (folder / "README.md").write_text(make_card(name, manifest, figures, HOST, SCENES), encoding="utf-8")
    shutil.copy(PROJECT / "LICENSE", folder)
    uploaded = client(UPLOAD, REPOSITORY, folder, token=hub.token)
    assert uploaded.returncode == 0, uploaded.stderr
    assert "/api/validate-yaml" in hub.received and hub.uploaded
    downloaded = client(DOWNLOAD, REPOSITORY, tmp_path / "here" if into_folder else "")
    assert downloaded.returncode == 0, downloaded.stderr
    received = Path(downloaded.stdout.strip())
    assert (received / ".gitattributes").is_file()
    assert (received / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    with open_captioner(received) as captioner, open_captioner(build(name)) as original:
        assert captioner.caption(pictures) == original.caption(pictures)
    (received / "config.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        open_captioner(received)


def test_the_lines_of_a_card_caption(
    client: Callable[..., "subprocess.CompletedProcess[str]"],
    hub: Hub,
    build: Build,
    picture_files: list[Path],
    pictures: list[Image.Image],
) -> None:
    shutil.copytree(build("onnx_int8"), hub.folder, dirs_exist_ok=True)
    card = make_card("onnx_int8", read_manifest(hub.folder), FIGURES, HOST, SCENES)
    (lines,) = re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
    assert len(list(filter(None, lines.splitlines()))) <= 5
    lines = lines.replace("OWNER/NAME", REPOSITORY).replace("photo.jpg", str(picture_files[0]))
    installed = "import stages.captioner, sys; sys.modules['blip_on_cpu'] = stages.captioner\n"  # under its own name
    process = client(installed + lines)
    assert process.returncode == 0, process.stderr
    with open_captioner(build("onnx_int8")) as captioner:
        assert process.stdout == f"{captioner.caption(pictures[:1])}\n"


def test_make_publish_asks_for_a_variant(tmp_path: Path) -> None:
    make = ("make", f"--file={PROJECT / 'Makefile'}", "--old-file=.venv/ready", "ACTIVATE=", "publish")
    process = subprocess.run(make, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert process.returncode != 0 and "make publish VARIANT=" in process.stderr


def test_the_readmes_commands_publish_and_upload(
    project: Path,
    hub: Hub,
    client: Callable[..., "subprocess.CompletedProcess[str]"],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (commands,) = code_blocks("models/README.md", "Publish", "sh")
    commands = commands.replace("openvino_int8", "onnx_int8").replace("OWNER/NAME", REPOSITORY)
    make, upload = commands.splitlines()
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    shell(project, "bash", "-c", make.replace("make", f"make -f {PROJECT}/Makefile -o .venv/ready ACTIVATE=", 1))
    given = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "ours"), "HF_HUB_DISABLE_XET": "1"}
    for name, value in (given | {"HF_TOKEN": hub.token}).items():
        monkeypatch.setenv(name, value)
    assert hub.token not in shell(project, "bash", "-c", upload)
    downloaded = client(DOWNLOAD, REPOSITORY, "")
    assert downloaded.returncode == 0, downloaded.stderr
    received = Path(downloaded.stdout.strip())
    verify_files(received, read_manifest(received))
    assert (received / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_a_card_that_a_hub_would_refuse_is_refused_here_too(
    client: Callable[..., "subprocess.CompletedProcess[str]"], hub: Hub, tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mine\npipeline_tag: captions\n---\n# x\n")
    process = client(UPLOAD, REPOSITORY, folder, token=hub.token)
    assert process.returncode != 0 and "license is mine" in process.stderr
