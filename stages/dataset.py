"""DVC stage `dataset`: makes the pictures to evaluate on and to calibrate with, in one form whatever their source.

`data/eval` and `data/calibration` each hold `images/` and `captions.json` in COCO's annotation format.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rich.progress import track

from stages import photographs
from stages.annotations import CaptionedPicture, read_annotations
from stages.checkpoint import replacing
from stages.command_line import LONGEST_MESSAGE, InputError, printable, run, shorten
from stages.demo.drawing import draw
from stages.demo.scenes import Split, compose, describe
from stages.examples import CALIBRATION, CAPTIONS, EVALUATION, CocoAnnotation, CocoCaptions, CocoImage
from stages.images import open_image
from stages.params import Coco, Dataset, Noise, Scenes, read_params

NOISE_SIDE = 384


@dataclass(frozen=True)
class Example:
    """A picture, in memory or in a file to copy, and its reference captions; none if nobody wrote any."""

    name: str
    picture: Image.Image | Path
    captions: list[str]


def make_dataset(dataset: Dataset, evaluation: Path, calibration: Path) -> None:
    """Writes both folders. Raises InputError if the pictures or their captions can't be used."""
    for_evaluation, for_calibration = _examples(dataset)
    for output, examples in ((evaluation, for_evaluation), (calibration, for_calibration)):
        with replacing(output) as unfinished:
            _write(examples, unfinished)


def _examples(dataset: Dataset) -> tuple[list[Example], list[Example]]:
    """The examples to evaluate on and those to calibrate with; they have no picture in common."""
    if isinstance(dataset, Scenes):
        return list(_scenes("held_out", dataset.evaluation)), list(_scenes("training", dataset.calibration))
    if isinstance(dataset, Noise):
        pictures = list(_noise(dataset))
        return pictures[: dataset.evaluation], pictures[dataset.evaluation :]
    if isinstance(dataset, Coco):
        return _coco(dataset)
    return _photographs(photographs.EVALUATION), _photographs(photographs.CALIBRATION)


def _scenes(split: Split, count: int) -> Iterator[Example]:
    for seed in track(range(count), description=f"drawing {split.replace('_', '-')} scenes"):
        scene = compose(seed, split)
        yield Example(f"{seed:05}.png", draw(scene, seed), describe(scene))


def _noise(dataset: Noise) -> Iterator[Example]:
    for index in range(dataset.evaluation + dataset.calibration):
        pixels = np.random.default_rng((dataset.seed, index)).integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)
        yield Example(f"{index:05}.png", Image.fromarray(pixels), [])


def _photographs(captions: dict[str, list[str]]) -> list[Example]:
    return [Example(name, photographs.FOLDER / name, references) for name, references in captions.items()]


def _coco(dataset: Coco) -> tuple[list[Example], list[Example]]:
    """The first pictures of a captions file that are good and differ from each other, in its order and splits."""
    pictures = read_annotations(Path(dataset.annotations))
    _check_names(dataset, pictures)
    for_evaluation = [picture for picture in pictures if picture.purpose != "calibration"]
    for_calibration = [picture for picture in pictures if picture.purpose != "evaluation"]
    _check_enough(dataset, len(for_evaluation), len(for_calibration), len(pictures))
    taken: dict[str, str] = {}
    left_out: list[str] = []
    sources = [_usable(own, dataset, taken, left_out) for own in (for_evaluation, for_calibration)]
    if for_evaluation == for_calibration:  # no splits, so the second goes on where the first ends
        sources[1] = sources[0]
    evaluation, calibration = (
        list(islice(sources[0], dataset.evaluation)),
        list(islice(sources[1], dataset.calibration)),
    )
    if left_out:
        print(shorten(f"left out {len(left_out)} pictures: {'; '.join(left_out)}", LONGEST_MESSAGE))
    _check_enough(dataset, len(evaluation), len(calibration), len(evaluation) + len(calibration))
    return evaluation, calibration


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


def _usable(
    pictures: list[CaptionedPicture], dataset: Coco, taken: dict[str, str], left_out: list[str]
) -> Iterator[Example]:
    """The pictures that open and look like none before; notes why the others don't serve.

    `taken` holds the names of pictures by the digests of their pixels, `left_out` the reasons.
    """
    folder, names = Path(dataset.images), set[str]()
    for picture in pictures:
        path = _locate(picture.file_name, folder)
        try:
            image = open_image(path)
        except InputError as error:
            left_out.append(str(error))
            continue
        digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        if digest in taken:
            left_out.append(f"{printable(picture.file_name)} is the same as {printable(taken[digest])}")
            continue
        taken[digest] = _distinct(_path_below(path, folder) or PurePosixPath(path.name), names)
        yield Example(taken[digest], path, picture.captions)


def _locate(file_name: str, folder: Path) -> Path:
    """Where a picture lies: below the folder, beside it if its name begins with the folder's, or at its absolute path.

    Raises InputError if it is at none of these places.
    """
    places = [folder / file_name]
    if Path(file_name).parts[:1] == (folder.name,) and ".." not in Path(file_name).parts:
        places.append(folder.parent / file_name)  # val2014/x.jpg, where the folder is val2014 and not the one above
    path = next((place for place in places if os.path.isfile(place)), None)
    if path is None:
        raise InputError(
            f"there is no picture {printable(places[0])}: complete the folder, "
            "or lower the dataset's limits in params.yaml"
        )
    return path


def _path_below(path: Path, folder: Path) -> PurePosixPath | None:
    """A path as seen from a folder, without following links; None if it leads elsewhere."""
    absolute, above = Path(os.path.abspath(path)), os.path.abspath(folder)
    return PurePosixPath(absolute.relative_to(above).as_posix()) if absolute.is_relative_to(above) else None


def _distinct(path: PurePosixPath, names: set[str]) -> str:
    """A file name, with a number if a disk that takes A for a can't hold it beside the others; notes it among them."""
    candidates = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    name = next(str(candidate) for candidate in candidates if str(candidate).casefold() not in names)
    names.add(name.casefold())
    return name


def _write(examples: list[Example], output: Path) -> None:
    (output / "images").mkdir()
    for example in examples:
        target = output / "images" / example.name
        if isinstance(example.picture, Path):
            _copy(example.picture, target)
        else:
            example.picture.save(target)
    content = CocoCaptions(
        images=[CocoImage(id=number, file_name=example.name) for number, example in enumerate(examples)],
        annotations=[
            CocoAnnotation(image_id=number, caption=caption)
            for number, example in enumerate(examples)
            for caption in example.captions
        ],
    )
    text = json.dumps(content.model_dump(), indent=1) + "\n"
    (output / CAPTIONS).write_text(text, encoding="utf-8")


def _copy(picture: Path, target: Path) -> None:
    if not picture.is_file():
        raise InputError(
            f"there is no picture {picture}: complete the folder, or lower the dataset's limits in params.yaml"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, target)


def main() -> None:
    """Makes the dataset of the model that params.yaml chooses."""
    make_dataset(read_params().chosen_model().dataset, EVALUATION, CALIBRATION)


if __name__ == "__main__":
    run(main)
