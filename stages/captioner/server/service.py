"""What all requests share: the checkpoint, the threads that open pictures and caption them, and places for so many."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.responses import Response
from tokenizers import Tokenizer

from ..runtimes.decoding import Decoding
from ..runtimes.scores import Caption
from .asked import Asked, Said, decoding_for
from .batching import Batcher
from .metrics import Metrics
from .models import Model
from .pictures import open_picture, picture_bytes

MOST_UNDER_WAY = 32  # requests, from their headers to their answers


class Api(NamedTuple):
    """How a path's requests are read, and how they are answered."""

    read: Callable[[bytes], Asked]
    answer: Callable[[Asked, Said], Response]


class Wanted(NamedTuple):
    """A request that can be captioned."""

    asked: Asked
    image: Image.Image
    decoding: Decoding


@dataclass
class Service:
    """What all requests share. `pool` opens pictures, `under_way` counts requests, in the event loop alone."""

    model: Model
    own: Decoding
    prompt_as_prefix: bool
    captions: Batcher
    pool: ThreadPoolExecutor
    tokenizer: Tokenizer
    metrics: Metrics
    under_way: int = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests under way while the block runs. Raises HTTPException if all are taken."""
        if self.under_way >= MOST_UNDER_WAY:
            raise HTTPException(503, "too many requests are under way: try again", headers={"Retry-After": "1"})
        self.under_way += 1
        self.metrics.under_way.inc()
        try:
            yield
        finally:
            self.under_way -= 1
            self.metrics.under_way.dec()

    def prepare(self, api: Api, body: bytes) -> Wanted:
        """Reads a request and opens its picture, which takes a while. Raises InputError if that can't be captioned."""
        asked = api.read(body)
        decoding = decoding_for(self.own, asked.wishes, asked.prompt if self.prompt_as_prefix else None)
        return Wanted(asked, open_picture(picture_bytes(asked.picture)), decoding)

    def say(self, wanted: Wanted, caption: Caption, created: float, seconds: float) -> Said:
        """An answer of a caption, with its tokens as the tokenizer counts them in its text."""
        prompt = self.count(wanted.decoding.prompt)
        tokens = max(0, self.count(caption.text) - prompt)
        cut_off = tokens >= wanted.decoding.max_new_tokens
        return Said(self.model.name, caption.text, caption.score, prompt, tokens, cut_off, created, seconds)

    def count(self, text: str) -> int:
        """The tokens of a text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)
