"""Photographs that scikit-image ships (public domain or CC0), with reference captions written for this project."""

from pathlib import Path

import skimage.data

FOLDER = Path(skimage.data.__file__).parent

EVALUATION: dict[str, list[str]] = {
    "astronaut.png": [
        "a smiling woman in an orange space suit",
        "an astronaut in an orange suit poses in front of a flag and a model of a space shuttle",
        "a portrait of a female astronaut with her helmet",
        "a woman with short hair wearing a nasa space suit",
        "an astronaut sitting next to an american flag",
    ],
    "camera.png": [
        "a man looking through a camera on a tripod",
        "a black and white photo of a photographer in a field",
        "a man in a black coat taking a picture with a camera",
        "a person bending over a camera on a tripod on a lawn",
        "a cameraman filming outside with a city in the background",
    ],
    "chelsea.png": [
        "a close up of a cat's face",
        "a brown tabby cat with green eyes",
        "a cat looking away from the camera",
        "the face of an orange striped cat",
        "a cat with big eyes and long whiskers",
    ],
    "coffee.png": [
        "a cup of coffee on a red saucer",
        "a cup of espresso on a wooden table",
        "a red cup and saucer with a spoon on a table",
        "a small cup filled with coffee next to a spoon",
        "an espresso in a red cup on a wooden surface",
    ],
    "coins.png": [
        "rows of old coins on a dark background",
        "a collection of ancient coins",
        "a black and white photo of many coins",
        "four rows of round coins with faces on them",
        "a display of old greek coins",
    ],
    "hubble_deep_field.jpg": [
        "many galaxies in a dark sky",
        "stars and galaxies scattered over a black background",
        "a photo of deep space taken by a telescope",
        "hundreds of bright spots of different colors in space",
        "a view of distant galaxies in the night sky",
    ],
    "rocket.jpg": [
        "a rocket on a launch pad at night",
        "a white rocket standing between two towers",
        "a rocket ready for launch under a dark blue sky",
        "a tall rocket on its launch pad with lights around it",
        "a space rocket waiting to be launched at dusk",
    ],
}

CALIBRATION: dict[str, list[str]] = {
    "brick.png": ["a black and white photo of a brick pavement"],
    "grass.png": ["a black and white close up of grass"],
    "gravel.png": ["a black and white close up of gravel"],
    "retina.jpg": ["the retina of an eye with blood vessels"],
}
