"""What the pages tell a user to do, done word for word."""

import json
import re
from pathlib import Path

import yaml
from PIL import Image

from stages.choice.acceptance import more_pictures
from stages.setup.params import Accept, Coco, Folder, Model, Photographs
from tests.conftest import PROJECT, save_tiny_model
from tests.projects import change, commit, copy_project, repro, shell
from tests.readmes import code_blocks
from tests.test_dataset import save_photos, write_coco


def test_a_model_and_pictures_of_ones_own_are_added_shared_and_tried_in_a_folder_apart(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project", variants=("pruned_quantized",))
    save_tiny_model(project / "data/local/my-blip")
    write_coco(project)
    (entry,) = code_blocks("data/README.md", "A model of your own", "yaml")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["models"] |= yaml.safe_load(entry)["models"]
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    change(
        project,
        {
            "models.mine.dataset.evaluation": 3,
            "models.mine.dataset.calibration": 2,
            "models.mine.benchmark_seconds": 0,
            "models.mine-on-photos.dataset.evaluation": 3,
            "models.mine-on-photos.dataset.calibration": 2,
            "models.mine-on-photos.benchmark_seconds": 0,
        },
    )
    (commands,) = code_blocks("data/README.md", "A model of your own", "sh")
    (commands_for_photos,) = code_blocks("data/README.md", "Pictures that nobody captioned", "sh")
    for command in commands.splitlines():
        shell(project, "bash", "-c", command)
    assert (project / "reports/quality/pruned_quantized.json").is_file()
    *_, experiments = code_blocks("reports/README.md", "What DVC shows", "sh")[0].splitlines()
    experiments, _, aligned = experiments.rpartition(" | ")
    assert aligned.startswith("column ")  # which not every machine has
    heading, *rows = shell(project, "bash", "-c", experiments).splitlines()
    assert heading.split(",") == ["Experiment", "rev", "baseline", "pruned_quantized"]
    assert len(rows) >= 2
    commit(project)

    # Apart from the workspace, all inputs are there: nothing is missing, nothing has changed, only a setting has.
    shell(project, "dvc", "exp", "run", "--queue", "-S", "evaluation.bootstrap_samples=150")
    output = shell(project, "dvc", "exp", "run", "--run-all")
    ran = set(re.findall(r"Running stage '(.*?)'", output))
    assert {"evaluate@pruned_quantized", "evaluate_baseline", "host"} <= ran
    assert not ran & {"download", "dataset", "optimize@pruned_quantized"}

    # A file that no model names changes nothing; one of the chosen pictures does.
    (project / "data/local/notes.txt").write_text("not named")
    assert repro(project)[0] == ["host"]
    Image.new("RGB", (8, 8), (0, 250, 0)).save(project / "data/local/coco/val2014/COCO_4.jpg")
    assert "dataset" in shell(project, "dvc", "repro", "dataset")

    # Who pulls what the stages made needs none of it.
    shell(project, "git", "checkout", "-q", ".")
    shell(project, "dvc", "checkout", "-q", "--force")
    shell(project, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    commit(project)
    shell(project, "dvc", "push", "-q")
    shell(tmp_path, "git", "clone", "-q", str(project), "clone")
    clone = tmp_path / "clone"
    shell(clone, "dvc", "pull", "-q", "optimize", "download", "dataset", "draft", "evaluate_baseline")
    assert not (clone / "data/local/my-blip").exists()
    ran, output = repro(clone)
    assert ran == ["host"]
    assert "data/local/my-blip is not here" in output

    # Pictures that nobody captioned, in the project that has the model already.
    save_photos(project, *(f"{year}/IMG_0001.jpg" for year in range(2010, 2020)))
    add, experiment = commands_for_photos.splitlines()
    shell(project, "bash", "-c", add)
    shell(project, "bash", "-c", f"{experiment} evaluate@pruned_quantized")  # without the timing, as it was tried above
    quality = json.loads((project / "reports/quality/pruned_quantized.json").read_text())
    assert {"same_caption", "same_next_token", "kl"} < quality.keys() and "cider" not in quality
    (project / "data/local/photos/notes.txt").write_text("no picture")
    assert "dataset" not in shell(project, "dvc", "repro", "dataset").replace("'dataset' didn't change", "")


def test_budgets_and_pictures_that_decide_are_such_as_params_yaml_takes() -> None:
    (budgets,) = code_blocks("README.md", "Which checkpoint to ship", "yaml")
    (datasets,) = code_blocks("data/README.md", "Pictures that decide", "yaml")
    assert yaml.safe_load(budgets)["accept"].keys() == Accept.model_fields.keys()
    Accept.model_validate(yaml.safe_load(budgets)["accept"])
    for line in datasets.splitlines():
        model = yaml.safe_load((PROJECT / "params.yaml").read_text())["models"]["blip-base"] | yaml.safe_load(line)
        written = Model.model_validate(model).dataset
        assert isinstance(written, Coco | Folder)
        found = more_pictures("blip-base", Photographs(kind="photographs"), written.evaluation)
        assert line.strip() in found
