"""DVC stage `dataset`: makes the pictures to evaluate on, to calibrate with and to search recipes on, in one form
whatever their source.

`data/eval`, `data/calibration` and `data/search` each hold `images/` and `captions.json` in COCO's annotation format,
and if the pictures are drawn scenes `scenes.json`, what they show.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from stages.captioner.checkpoint import replacing
from stages.captioner.command_line import InputError, run
from stages.captioner.images import allow_large_pictures
from stages.pictures import photographs
from stages.pictures.coco import choose_examples
from stages.pictures.folder import choose_pictures
from stages.records.examples import (
    CALIBRATION,
    CAPTIONS,
    EVALUATION,
    SEARCH,
    CocoAnnotation,
    CocoCaptions,
    CocoImage,
    Example,
)
from stages.scenes.composition import Split, compose, write_scenes
from stages.scenes.drawing import draw
from stages.scenes.wording import refer
from stages.setup.params import Coco, Dataset, Folder, Noise, Scenes, read_params

NOISE_SIDE = 384


def make_dataset(dataset: Dataset, evaluation: Path, calibration: Path, search: Path | None = None) -> None:
    """Writes the folders, that to search on where one is given. Raises InputError if the pictures or their captions
    can't be used."""
    folders = [evaluation, calibration, *([search] if search else [])]
    drawn = _seeds(dataset) if isinstance(dataset, Scenes) else [None, None, None]
    for output, examples, seeds in zip(folders, _examples(dataset), drawn, strict=False):
        with replacing(output) as unfinished:
            _write(examples, unfinished)
            if seeds:
                write_scenes([compose(seed, seeds.split) for seed in seeds.numbers], unfinished)


def _examples(dataset: Dataset) -> Sequence[list[Example]]:
    """The examples to evaluate on, those to calibrate with and those to search on; no two have a picture in common."""
    if isinstance(dataset, Scenes):
        return [list(_scenes(*seeds)) for seeds in _seeds(dataset)]
    if isinstance(dataset, Noise):
        pictures, searched = list(_noise(dataset)), dataset.evaluation + dataset.calibration
        return pictures[: dataset.evaluation], pictures[dataset.evaluation : searched], pictures[searched:]
    if isinstance(dataset, Coco):
        return choose_examples(dataset)
    if isinstance(dataset, Folder):
        return choose_pictures(dataset)
    return _photographs(photographs.EVALUATION), _photographs(photographs.CALIBRATION), []


class Seeds(NamedTuple):
    """The seeds that scenes of a split are drawn by."""

    split: Split
    numbers: range


def _seeds(dataset: Scenes) -> list[Seeds]:
    """Those to evaluate on, to calibrate with, and after these to search on."""
    calibration = range(dataset.calibration)
    search = range(dataset.calibration, dataset.calibration + dataset.search)
    return [Seeds("held_out", range(dataset.evaluation)), Seeds("training", calibration), Seeds("training", search)]


def _scenes(split: Split, seeds: range) -> Iterator[Example]:
    for seed in track(seeds, description=f"drawing {split.replace('_', '-')} scenes", auto_refresh=False):
        scene = compose(seed, split)
        yield Example(f"{seed:05}.png", draw(scene, seed), refer(scene, seed))


def _noise(dataset: Noise) -> Iterator[Example]:
    for index in range(dataset.evaluation + dataset.calibration + dataset.search):
        pixels = np.random.default_rng((dataset.seed, index)).integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)
        yield Example(f"{index:05}.png", Image.fromarray(pixels), [])


def _photographs(captions: dict[str, list[str]]) -> list[Example]:
    return [Example(name, photographs.FOLDER / name, references) for name, references in captions.items()]


def _write(examples: list[Example], output: Path) -> None:
    (output / "images").mkdir()
    for example in examples:
        target = output / "images" / example.name
        if isinstance(example.picture, Path):
            _copy(example.picture, target)
        else:
            example.picture.save(target, compress_level=1)  # of a PNG: little larger, in a third of the time
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
    allow_large_pictures()
    make_dataset(read_params().chosen_model().dataset, EVALUATION, CALIBRATION, SEARCH)


if __name__ == "__main__":
    run(main)
