"""DVC stage `dataset`: makes the pictures to evaluate on and to calibrate with, in one form whatever their source.

`data/eval` and `data/calibration` each hold `images/` and `captions.json` in COCO's annotation format, and if the
pictures are drawn scenes `scenes.json`, what they show.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from stages.captioner.checkpoint import replacing
from stages.captioner.command_line import InputError, run
from stages.captioner.images import allow_large_pictures
from stages.pictures import photographs
from stages.pictures.coco import choose_examples
from stages.pictures.folder import choose_pictures
from stages.records.examples import CALIBRATION, CAPTIONS, EVALUATION, CocoAnnotation, CocoCaptions, CocoImage, Example
from stages.scenes.composition import Split, compose, write_scenes
from stages.scenes.drawing import draw
from stages.scenes.wording import refer
from stages.setup.params import Coco, Dataset, Folder, Noise, Scenes, read_params

NOISE_SIDE = 384


def make_dataset(dataset: Dataset, evaluation: Path, calibration: Path) -> None:
    """Writes both folders. Raises InputError if the pictures or their captions can't be used."""
    for_evaluation, for_calibration = _examples(dataset)
    splits: tuple[Split, Split] = ("held_out", "training")
    for output, examples, split in zip(
        (evaluation, calibration), (for_evaluation, for_calibration), splits, strict=True
    ):
        with replacing(output) as unfinished:
            _write(examples, unfinished)
            if isinstance(dataset, Scenes):
                write_scenes([compose(seed, split) for seed in range(len(examples))], unfinished)


def _examples(dataset: Dataset) -> tuple[list[Example], list[Example]]:
    """The examples to evaluate on and those to calibrate with; they have no picture in common."""
    if isinstance(dataset, Scenes):
        return list(_scenes("held_out", dataset.evaluation)), list(_scenes("training", dataset.calibration))
    if isinstance(dataset, Noise):
        pictures = list(_noise(dataset))
        return pictures[: dataset.evaluation], pictures[dataset.evaluation :]
    if isinstance(dataset, Coco):
        return choose_examples(dataset)
    if isinstance(dataset, Folder):
        return choose_pictures(dataset)
    return _photographs(photographs.EVALUATION), _photographs(photographs.CALIBRATION)


def _scenes(split: Split, count: int) -> Iterator[Example]:
    for seed in track(range(count), description=f"drawing {split.replace('_', '-')} scenes", auto_refresh=False):
        scene = compose(seed, split)
        yield Example(f"{seed:05}.png", draw(scene, seed), refer(scene, seed))


def _noise(dataset: Noise) -> Iterator[Example]:
    for index in range(dataset.evaluation + dataset.calibration):
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
    allow_large_pictures()
    make_dataset(read_params().chosen_model().dataset, EVALUATION, CALIBRATION)


if __name__ == "__main__":
    run(main)
