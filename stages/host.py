"""DVC stage `host`: records what the other stages find here, so that they run again where it differs. Always runs,
and removes what killed stages left half-written.

That is this machine, as timings belong to it, and what the user's own files hold that the chosen model names in
params.yaml, links followed. DVC's own dependencies can't depend on which model is chosen, and don't look behind links,
so the stages that read these files depend on the records.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich import print

from stages.captioner.checkpoint import MODELS, remove_unfinished, sha256
from stages.captioner.command_line import InputError, run
from stages.pictures import coco, folder
from stages.records.examples import EVALUATION, PICTURES
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, read_metrics, write_metrics
from stages.setup.params import Coco, Dataset, Folder, FolderSource, Params, Source, read_params

MODEL_FILES = Path("data/inputs/model.json")
CAPTION_FILES = Path("data/inputs/captions.json")
# What transformers reads of a model's folder; what training leaves there beside it changes nothing.
READ_OF_MODELS = ("*.json", "*.txt", "*.safetensors", "*.bin")


def record_model(source: Source, record: Path) -> None:
    """Records the files of a model in a folder; for other sources, that there are none. Raises as `record_files`."""
    folders = [source.folder] if isinstance(source, FolderSource) else []
    found = [file for folder in folders for pattern in READ_OF_MODELS for file in Path(folder).glob(pattern)]
    record_files(folders, found, record)


def record_files(named: list[str], files: Iterable[Path], record: Path) -> None:
    """Writes how many files there are, how many bytes, and a digest of their names and contents.

    Where what params.yaml names is not here, as where a colleague pulled only checkpoints, its record stays as it is.

    Raises InputError if it is not here and the record is of something else, or if a file can't be read.
    """
    absent = [name for name in named if not Path(name).exists()]
    if not absent:
        write_metrics({"named": named, **_describe([file for file in files if file.is_file()])}, record)
    elif record.is_file() and read_metrics(record)["named"] == named:
        print(f"{absent[0]} is not here: what was made of it counts as up to date")
    else:
        raise InputError(
            f"there is no {absent[0]}, which params.yaml names: correct it, or fetch it with `dvc pull` if a colleague "
            "added it with `dvc add`"
        )


def _describe(files: list[Path]) -> dict[str, str | int]:
    try:
        lines = sorted(f"{file.as_posix()} {sha256(file)}\n" for file in files)
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise InputError(f"{error.filename} can't be read ({error.strerror}): correct its permissions") from None
    digest = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    return {"files": len(files), "bytes": size, "sha256": digest}


def record_pictures(dataset: Dataset, record: Path) -> None:
    """Records a dataset's pictures and captions in files, as far as they may be taken. Raises as `record_files`."""
    if isinstance(dataset, Coco):
        record_files([dataset.annotations, dataset.images], coco.files_of(dataset, _considered(dataset)), record)
    elif isinstance(dataset, Folder):
        record_files([dataset.images], _uncaptioned(dataset), record)
    else:
        record_files([], [], record)


def _uncaptioned(dataset: Folder) -> Iterator[Path]:
    """A generator, as nothing can be looked up where the files are not here."""
    yield from folder.candidates(dataset)[: _considered(dataset)]


def _considered(dataset: Coco | Folder) -> int:
    """Twice as many pictures as are taken, as those that don't open are replaced."""
    return 2 * (dataset.evaluation + dataset.calibration + dataset.search)


def captions_files(params: Params) -> list[str]:
    """The captions files that are named beside the dataset's: to guess words from, and those of recipes."""
    passes = [own for recipe in params.variants.values() for own in (recipe.vocabulary, recipe.recover) if own]
    return sorted(path for path in {own.captions for own in (*passes, params.drafting)} if path)


def main() -> None:
    """Writes reports/host.json, and captions.json, model.json and pictures.json in data/inputs."""
    for folder_of_outputs in (MODELS, EVALUATION.parent):
        remove_unfinished(folder_of_outputs)
    write_metrics(describe_machine(), REPORTS / "host.json")
    params = read_params()
    model = params.chosen_model()
    record_model(model.source, MODEL_FILES)
    record_pictures(model.dataset, PICTURES)
    captions = captions_files(params)
    record_files(captions, map(Path, captions), CAPTION_FILES)


if __name__ == "__main__":
    run(main)
