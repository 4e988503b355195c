"""Pictures that arrive together are captioned together: they share the decoder's steps, which are mostly the reading of
its weights."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Self

from PIL import Image

from ..runtimes.captioner import Captioner
from ..runtimes.decoding import Decoding
from ..runtimes.scores import Caption

WAIT_SECONDS = 0.003  # for pictures that come with the first; a caption takes 5 to 100 times as long


@dataclass(frozen=True, eq=False)
class Waiting:
    """A picture whose caption somebody waits for, and until when it waits for others to join it. One that is `alone`
    shares no batch."""

    image: Image.Image
    decoding: Decoding
    alone: bool
    until: float
    future: "Future[Caption]"

    def joins(self, first: "Waiting") -> bool:
        """Whether it can be in a batch that this other one begins."""
        return self is first or (self.decoding == first.decoding and not (self.alone or first.alone))


class Batcher:
    """One thread that owns a captioner, until the `with` block ends, and takes of what waits as much as fits a batch.

    Who is first comes first, with those of equal decoding behind. `observe` is told the size of each batch.
    """

    def __init__(self, captioner: Captioner, most: int, observe: Callable[[int], None]) -> None:
        self._captioner, self._most, self._observe = captioner, most, observe
        self._arriving: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._waiting: list[Waiting] = []
        self._thread = Thread(target=self._run, name="captioner", daemon=True)

    def submit(self, image: Image.Image, decoding: Decoding, alone: bool = False) -> "Future[Caption]":
        """Lets a picture wait for its turn. Whoever needs its caption no more cancels the future."""
        future: Future[Caption] = Future()
        self._arriving.put(Waiting(image, decoding, alone, monotonic() + WAIT_SECONDS, future))
        return future

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Captions what waits, and ends."""
        self._arriving.put(None)
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            wanted = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if wanted:
                self._observe(len(wanted))
                self._caption(wanted)

    def _next_batch(self) -> list[Waiting]:
        """Waits for a first picture, and a moment for more. Nothing once the block has ended and nothing waits."""
        if not self._waiting:
            first = self._arriving.get()
            if first is None:
                return []
            self._waiting.append(first)
        while len(batch := self._batch()) < self._most:
            try:
                more = self._arriving.get(timeout=max(0.0, self._waiting[0].until - monotonic()))
            except queue.Empty:
                break
            if more is None:
                self._arriving.put(None)  # for when nothing waits any more
                break
            self._waiting.append(more)
        self._waiting = [one for one in self._waiting if one not in batch and not one.future.cancelled()]
        return batch

    def _batch(self) -> list[Waiting]:
        wanted = [one for one in self._waiting if not one.future.cancelled()] or self._waiting
        return [one for one in wanted if one.joins(wanted[0])][: self._most]

    def _caption(self, batch: list[Waiting]) -> None:
        try:
            captions = self._captioner.caption_with_scores([one.image for one in batch], batch[0].decoding)
        except Exception as error:  # whatever it is, those behind still wait
            for one in batch:
                one.future.set_exception(error)
            return
        for one, caption in zip(batch, captions, strict=True):
            one.future.set_result(caption)
