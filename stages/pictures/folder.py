"""Which pictures of a folder without captions are taken: a sample of all, none of them twice."""

import re
from pathlib import Path

from stages.captioner.command_line import InputError, printable
from stages.captioner.images import pictures_below
from stages.pictures.choice import PictureFile, mixed, take_usable
from stages.pictures.sidecars import METADATA, unread_captions
from stages.records.examples import Example
from stages.setup.params import Folder

# What every disk can hold of a file's name, in characters of up to four bytes.
LONGEST_NAME = 60


def choose_pictures(dataset: Folder) -> tuple[list[Example], list[Example], list[Example]]:
    """Examples to evaluate on, to calibrate with and to search on, without captions: the first good ones of
    `candidates`.

    Raises InputError if there are too few that are good and differ from each other.
    """
    source = iter([(path, list[str]()) for path in candidates(dataset)])
    counts = (dataset.evaluation, dataset.calibration, dataset.search)
    evaluation, calibration, search = take_usable(*((source, count) for count in counts))
    taken = [*evaluation, *calibration, *search]
    _check_enough(dataset, len(taken), "different pictures that open")
    images = Path(dataset.images)
    if captions := unread_captions([path for path, _ in taken], images):
        print(
            f"there is {printable(captions)}, which kind: folder does not read: for captions, use kind: coco with "
            f"annotations: {captions if captions.name in METADATA else images}"
        )
    return _named(evaluation, images), _named(calibration, images), _named(search, images)


def candidates(dataset: Folder) -> list[Path]:
    """The folder's pictures in the order in which they are taken if they are good, that of `mixed`.

    Raises InputError if the folder is absent, can't be listed or holds too few.
    """
    folder = Path(dataset.images)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: correct the dataset's entry in params.yaml")
    pictures = pictures_below(folder)
    _check_enough(dataset, len(pictures), "pictures by their names")
    return mixed(pictures, folder)


def _check_enough(dataset: Folder, found: int, kind: str) -> None:
    wanted = dataset.evaluation + dataset.calibration + dataset.search
    if found < wanted:
        searched = f", {dataset.search} to search" if dataset.search else ""
        raise InputError(
            f"{dataset.images} and the folders below it hold {found} {kind}, but params.yaml asks for {wanted} "
            f"({dataset.evaluation} to evaluate, {dataset.calibration} to calibrate{searched}): lower these, or add "
            "some"
        )


def _named(pictures: list[PictureFile], folder: Path) -> list[Example]:
    """Examples under their number, which the report shows, and as much of their path as any disk and program takes."""
    return [
        Example(f"{number:05}-{_harmless(path.relative_to(folder))}", path, captions)
        for number, (path, captions) in enumerate(pictures)
    ]


def _harmless(path: Path) -> str:
    """A path in one name of letters, digits, dots, _ and -; its end, where it is long."""
    return re.sub(r"[^\w.-]+", "_", path.as_posix())[-LONGEST_NAME:]
