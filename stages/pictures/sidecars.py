"""Captions as trainers keep them, each picture's in a text file of its name: beside it, or in a folder of their own."""

from pathlib import Path

from stages.captioner.command_line import InputError, printable, read_text
from stages.captioner.images import pictures_below
from stages.pictures.choice import mixed
from stages.pictures.rows import CaptionedPicture, texts

# Of two, the first counts: .txt often holds tags where there is a .caption, too.
SUFFIXES = (".caption", ".CAPTION", ".txt", ".TXT")
METADATA = ("metadata.jsonl", "metadata.csv", "captions.txt", "captions.json", "captions.csv")


def read_sidecars(images: Path, captions: Path) -> list[CaptionedPicture]:
    """The pictures of a folder that have captions, one for each line of their file, in the order of `mixed`.

    Raises InputError if there are none, or no letter in any.
    """
    if not images.is_dir():
        raise InputError(f"there is no folder {images}: correct the dataset's entry in params.yaml")
    pictures = mixed(pictures_below(images), images)
    files = {path: file for path in pictures if (file := caption_file(path, images, captions))}
    if not files:
        raise InputError(_nothing_found(images, captions))
    found = [
        CaptionedPicture(path.relative_to(images).as_posix(), texts(read_text(file).splitlines()))
        for path, file in files.items()
    ]
    if not any(letter.isalpha() for picture in found for caption in picture.captions for letter in caption):
        raise InputError(
            f"the text files for {images} in {captions} have no letter, so they hold labels and no captions: "
            "use kind: folder"
        )
    return [picture for picture in found if picture.captions]


def caption_file(picture: Path, images: Path, captions: Path) -> Path | None:
    """The file with a picture's captions: a.txt or a.jpg.txt for a.jpg; None if there is none."""
    own = captions / picture.relative_to(images)
    names = [name for suffix in SUFFIXES for name in (own.with_suffix(suffix), own.with_name(own.name + suffix))]
    return next((name for name in names if name.is_file()), None)


def unread_captions(pictures: list[Path], images: Path) -> Path | None:
    """A file that seems to hold captions of some pictures of a folder or of all; None if there is none."""
    own = (caption_file(picture, images, images) for picture in pictures)
    return next((file for file in (*own, *(images / name for name in METADATA)) if file and file.is_file()), None)


def _nothing_found(images: Path, captions: Path) -> str:
    if file := next((captions / name for name in METADATA if (captions / name).is_file()), None):
        return f"{captions} has no text files for the pictures of {images}, but {file}: name that file as annotations"
    return (
        f"there are no captions beside the pictures of {printable(images)}: put a .txt of a picture's name, such as "
        f"a.txt for a.jpg, into {printable(captions)}, or name a captions file"
    )
