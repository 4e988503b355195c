"""Which captioned pictures of a folder are taken, in the captions file's order and splits, none of them twice."""

from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath

from stages.captioner.command_line import InputError, printable, refuse_pointer
from stages.pictures.annotations import read_annotations
from stages.pictures.choice import PictureFile, take_usable
from stages.pictures.places import leads_out, locator, path_below
from stages.pictures.rows import CaptionedPicture
from stages.pictures.sidecars import caption_file, read_sidecars
from stages.records.examples import Example
from stages.setup.params import Coco


def choose_examples(dataset: Coco) -> tuple[list[Example], list[Example], list[Example]]:
    """Examples to evaluate on, to calibrate with and, after those, to search on: the first pictures that are good and
    differ from each other.

    Raises InputError if there are too few of them, or if one that should be there is not.
    """
    for_evaluation, for_calibration = candidates(dataset)
    locate = locator_of(dataset, [*for_evaluation, *for_calibration])
    sources = [_located(own, dataset, locate) for own in (for_evaluation, for_calibration)]
    if for_evaluation == for_calibration:  # no splits, so the second goes on where the first ends
        sources[1] = sources[0]
    evaluation, others = take_usable(
        (sources[0], dataset.evaluation),
        (sources[1], dataset.calibration + dataset.search),
    )
    _check_enough(dataset, len(evaluation), len(others), len(evaluation) + len(others))
    calibration, search = others[: dataset.calibration], others[dataset.calibration :]
    folder = Path(dataset.images)
    return _named(evaluation, folder), _named(calibration, folder), _named(search, folder)


def candidates(dataset: Coco) -> tuple[list[CaptionedPicture], list[CaptionedPicture]]:
    """The pictures to evaluate on and those to calibrate with, in the order in which they are taken if they are good.

    Without splits in the captions file, both are all. Raises InputError if the file is of no use or names too few.
    """
    annotations = Path(dataset.annotations)
    refuse_pointer(annotations)
    beside = annotations.is_dir()
    pictures = read_sidecars(Path(dataset.images), annotations) if beside else read_annotations(annotations)
    _check_names(dataset, pictures)
    for_evaluation = [picture for picture in pictures if picture.purpose != "calibration"]
    for_calibration = [picture for picture in pictures if picture.purpose != "evaluation"]
    _check_enough(dataset, len(for_evaluation), len(for_calibration), len(pictures))
    return for_evaluation, for_calibration


def locator_of(dataset: Coco, pictures: list[CaptionedPicture]) -> Callable[[str], Path | None]:
    """What finds the pictures that a captions file names, see `places.locator`."""
    beside = Path(dataset.annotations).parent
    folders = [Path(dataset.images), *([beside] if path_below(beside, Path(dataset.images)) else [])]
    return locator([picture.file_name for picture in pictures], *folders)


def files_of(dataset: Coco, considered: int) -> Iterator[Path]:
    """The captions file, and the pictures that may be taken, so many of each purpose, with their own captions files.

    A generator, as nothing can be looked up where the files are not here.
    """
    images, annotations = Path(dataset.images), Path(dataset.annotations)
    yield annotations
    own = candidates(dataset)
    locate = locator_of(dataset, [picture for pictures in own for picture in pictures])
    first = {picture.file_name for pictures in own for picture in pictures[:considered]}
    paths = list(filter(None, map(locate, first)))
    yield from paths
    if annotations.is_dir():
        yield from filter(None, (caption_file(path, images, annotations) for path in paths))


def _check_names(dataset: Coco, pictures: list[CaptionedPicture]) -> None:
    folder = Path(dataset.images)
    for name in (picture.file_name for picture in pictures):
        if ".." in name and leads_out(name, folder):
            raise InputError(
                f"{dataset.annotations} names {printable(name)}, which is outside of {folder}: correct that entry"
            )


def _check_enough(dataset: Coco, evaluation: int, others: int, total: int) -> None:
    wanted_others = dataset.calibration + dataset.search
    wanted = dataset.evaluation + wanted_others
    if total < wanted:
        raise InputError(
            f"{dataset.annotations} captions {total} pictures, but params.yaml asks for {wanted}: lower its limits"
        )
    if evaluation < dataset.evaluation or others < wanted_others:
        purpose = "calibrate with and search on" if dataset.search else "calibrate with"
        raise InputError(
            f"{dataset.annotations} captions {evaluation} pictures in splits to evaluate on and {others} in those "
            f"to {purpose}, but params.yaml asks for {dataset.evaluation} and {wanted_others}: lower these"
        )


def _located(
    pictures: list[CaptionedPicture], dataset: Coco, locate: Callable[[str], Path | None]
) -> Iterator[PictureFile]:
    """Where the pictures lie, and their captions. Raises InputError at one that is nowhere."""
    folder = Path(dataset.images)
    for picture in pictures:
        path = locate(picture.file_name)
        if path is None:
            refuse_pointer(folder / picture.file_name)
            raise InputError(
                f"there is no picture {printable(folder / picture.file_name)}: complete the folder, "
                "or lower the dataset's limits in params.yaml"
            )
        yield path, picture.captions


def _named(pictures: list[PictureFile], folder: Path) -> list[Example]:
    """Examples under the names of their files, as seen from the folder."""
    names = set[str]()
    return [
        Example(_distinct(path_below(path, folder) or PurePosixPath(path.name), names), path, captions)
        for path, captions in pictures
    ]


def _distinct(path: PurePosixPath, names: set[str]) -> str:
    """A file name, with a number if a disk that takes A for a can't hold it beside the others; notes it among them."""
    candidates = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    name = next(str(candidate) for candidate in candidates if str(candidate).casefold() not in names)
    names.add(name.casefold())
    return name
