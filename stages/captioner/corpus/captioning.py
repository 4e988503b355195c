"""What a worker does: captions blocks of an archive's pictures, given by their numbers."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from PIL import Image

from ..command_line import InputError
from ..images import cut_off_in_words, share_there
from ..own_process import open_in_own_process
from ..runtimes.captioner import Captioner
from ..runtimes.decoding import Decoding
from ..runtimes.preprocessing import Preprocessing, read_preprocessing
from .manifest import ManifestReader
from .pictures import Picture, open_picture
from .rows import RowReader

# The columns of the output. `caption` and `score` are empty where a picture can't be opened, `error` where all is well.
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "path": pa.string(),
        "caption": pa.string(),
        "score": pa.float64(),
        "error": pa.string(),
        "digest": pa.string(),
    }
)
OPENERS = 4  # threads that open pictures: a store lets each wait
BATCHES_AHEAD = 1
MOST_TRIES = 6  # of a block whose workers die


class Work(NamedTuple):
    """What workers have to know. `checkpoint` and `manifest` are where each of them finds these."""

    checkpoint: str
    decoding: Decoding
    manifest: str
    digest: str


class Result(NamedTuple):
    """What is known of a picture in the end."""

    caption: str | None
    score: float | None
    error: str | None


class Opened(NamedTuple):
    """A picture in the size that the captioner takes, and what is to be said of it."""

    image: Image.Image | None
    error: str | None


class PictureOpener:
    """Opens pictures ahead in threads, and makes them as small as the captioner would, so that few bytes wait."""

    def __init__(self, settings: Preprocessing) -> None:
        self._settings = settings
        self._rows = RowReader()
        self._threads = ThreadPoolExecutor(OPENERS)

    def batches(self, pictures: Sequence[Picture], size: int) -> Iterator[list[Opened]]:
        """Pictures in order, so many at a time. Raises OSError if a store doesn't answer."""
        waiting: deque[list[Future[Opened]]] = deque()
        for first in range(0, len(pictures), size):
            waiting.append([self._start(picture) for picture in pictures[first : first + size]])
            if len(waiting) > BATCHES_AHEAD:
                yield [future.result() for future in waiting.popleft()]
        for batch in waiting:
            yield [future.result() for future in batch]

    def _start(self, picture: Picture) -> "Future[Opened]":
        try:  # rows are read here, as they lie one behind the other
            is_row = picture.member is not None and picture.size is None
            content = self._rows.read(picture) if is_row else None
        except InputError as error:
            return self._threads.submit(Opened, None, str(error))
        return self._threads.submit(self._open, picture, content)

    def _open(self, picture: Picture, content: bytes | None) -> Opened:
        try:
            image = open_picture(picture, content)
        except InputError as error:
            return Opened(None, str(error))
        share = share_there(image)
        side = self._settings.size
        small = image.resize((side.width, side.height), self._settings.resample)
        return Opened(small, None if share == 1 else cut_off_in_words(Path(picture.name), share))


def caption_batch(captioner: Captioner, batch: Sequence[Opened], decoding: Decoding) -> list[Result]:
    """Captions the pictures that could be opened, in one go. Raises InputError if the checkpoint can't caption."""
    images = [opened.image for opened in batch if opened.image]
    captions = iter(captioner.caption_with_scores(images, decoding))
    results = []
    for opened in batch:
        text, score, _ = next(captions) if opened.image else (None, None, None)
        results.append(Result(text, score, opened.error))
    return results


class BlockCaptioner:
    """A worker. It opens its captioner at its first block, so that what is wrong with it is told as of any block."""

    def __init__(self, work: Work, threads: int, batch_size: int, tally: Any) -> None:
        self._work, self._threads, self._batch_size, self._tally = work, threads, batch_size, tally
        self._captioner: Captioner | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Rows with the columns of SCHEMA, of a block with the column `id`."""
        captioner = self._captioner or self._open()
        numbers = block["id"].to_pylist()
        pictures = self._manifest.read(numbers)
        self._refuse_deadly(pictures, numbers[0])
        results: list[Result] = []
        for batch in self._opener.batches(pictures, self._batch_size):
            results += caption_batch(captioner, batch, self._work.decoding)
            self._tally.add.remote(len(batch))
        names = [os.fsencode(picture.name).decode("utf-8", "backslashreplace") for picture in pictures]
        captions, scores, errors = zip(*results, strict=True)
        return pa.table([numbers, names, captions, scores, errors, [self._work.digest] * len(names)], schema=SCHEMA)

    def _refuse_deadly(self, pictures: Sequence[Picture], number: int) -> None:
        """A picture that kills its worker would keep all busy for ever, as Ray tries again whatever was lost."""
        import ray  # here, as it reads settings that are made before

        if ray.get(self._tally.begin.remote(number)) > MOST_TRIES:
            raise InputError(
                f"a worker died {MOST_TRIES} times between {pictures[0].name} and {pictures[-1].name}: leave out the "
                "picture that kills it"
            )

    def _open(self) -> Captioner:
        checkpoint = Path(self._work.checkpoint)
        self._manifest = ManifestReader(self._work.manifest)
        self._opener = PictureOpener(read_preprocessing(checkpoint))
        self._captioner = open_in_own_process(checkpoint, self._threads)
        return self._captioner
