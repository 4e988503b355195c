"""Which pictures of a folder with a captions file are taken, in the file's order and splits, none of them twice."""

import os
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath

from stages.captioner.command_line import InputError, printable, refuse_pointer
from stages.params import Coco
from stages.pictures.annotations import CaptionedPicture, read_annotations
from stages.pictures.choice import PictureFile, take_usable
from stages.pictures.examples import Example


def choose_examples(dataset: Coco) -> tuple[list[Example], list[Example]]:
    """Examples to evaluate on and to calibrate with: the first pictures that are good and differ from each other.

    Raises InputError if there are too few of them, or if one that should be there is not.
    """
    for_evaluation, for_calibration = candidates(dataset)
    sources = [_located(own, dataset) for own in (for_evaluation, for_calibration)]
    if for_evaluation == for_calibration:  # no splits, so the second goes on where the first ends
        sources[1] = sources[0]
    evaluation, calibration = take_usable(
        (sources[0], dataset.evaluation),
        (sources[1], dataset.calibration),
    )
    _check_enough(dataset, len(evaluation), len(calibration), len(evaluation) + len(calibration))
    return _named(evaluation, Path(dataset.images)), _named(calibration, Path(dataset.images))


def candidates(dataset: Coco) -> tuple[list[CaptionedPicture], list[CaptionedPicture]]:
    """The pictures to evaluate on and those to calibrate with, in the order in which they are taken if they are good.

    Without splits in the captions file, both are all. Raises InputError if the file is of no use or names too few.
    """
    refuse_pointer(Path(dataset.annotations))
    pictures = read_annotations(Path(dataset.annotations))
    _check_names(dataset, pictures)
    for_evaluation = [picture for picture in pictures if picture.purpose != "calibration"]
    for_calibration = [picture for picture in pictures if picture.purpose != "evaluation"]
    _check_enough(dataset, len(for_evaluation), len(for_calibration), len(pictures))
    return for_evaluation, for_calibration


def _check_names(dataset: Coco, pictures: list[CaptionedPicture]) -> None:
    """Refuses names that lead out of the folder with `..`; links and absolute names may lead anywhere."""
    folder = Path(dataset.images)
    for name in (picture.file_name for picture in pictures):
        if ".." in Path(name).parts and _path_below(folder / name, folder) is None:
            raise InputError(
                f"{dataset.annotations} names {printable(name)}, which is outside of {folder}: correct that entry"
            )


def _check_enough(dataset: Coco, evaluation: int, calibration: int, total: int) -> None:
    wanted = dataset.evaluation + dataset.calibration
    if total < wanted:
        raise InputError(
            f"{dataset.annotations} captions {total} pictures, but params.yaml asks for {wanted}: lower its limits"
        )
    if evaluation < dataset.evaluation or calibration < dataset.calibration:
        raise InputError(
            f"{dataset.annotations} captions {evaluation} pictures in splits to evaluate on and {calibration} in those "
            f"to calibrate with, but params.yaml asks for {dataset.evaluation} and {dataset.calibration}: lower these"
        )


def _located(pictures: list[CaptionedPicture], dataset: Coco) -> Iterator[PictureFile]:
    """Where the pictures lie, and their captions. Raises InputError at one that is nowhere."""
    folder = Path(dataset.images)
    for picture in pictures:
        path = locate(picture.file_name, folder)
        if path is None:
            refuse_pointer(folder / picture.file_name)
            raise InputError(
                f"there is no picture {printable(folder / picture.file_name)}: complete the folder, "
                "or lower the dataset's limits in params.yaml"
            )
        yield path, picture.captions


def locate(file_name: str, folder: Path) -> Path | None:
    """Where a picture lies: below the folder, beside it if its name begins with the folder's, or at its absolute path.

    None if it is at none of these places.
    """
    places = [folder / file_name]
    if Path(file_name).parts[:1] == (folder.name,) and ".." not in Path(file_name).parts:
        places.append(folder.parent / file_name)  # val2014/x.jpg, where the folder is val2014 and not the one above
    return next((place for place in places if os.path.isfile(place)), None)


def _path_below(path: Path, folder: Path) -> PurePosixPath | None:
    """A path as seen from a folder, without following links; None if it leads elsewhere."""
    absolute, above = Path(os.path.abspath(path)), os.path.abspath(folder)
    return PurePosixPath(absolute.relative_to(above).as_posix()) if absolute.is_relative_to(above) else None


def _named(pictures: list[PictureFile], folder: Path) -> list[Example]:
    """Examples under the names of their files, as seen from the folder."""
    names = set[str]()
    return [
        Example(_distinct(_path_below(path, folder) or PurePosixPath(path.name), names), path, captions)
        for path, captions in pictures
    ]


def _distinct(path: PurePosixPath, names: set[str]) -> str:
    """A file name, with a number if a disk that takes A for a can't hold it beside the others; notes it among them."""
    candidates = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    name = next(str(candidate) for candidate in candidates if str(candidate).casefold() not in names)
    names.add(name.casefold())
    return name
