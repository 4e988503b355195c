"""PhotoPrism's vision API, `POST /api/v1/vision/caption`."""

import math

from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..command_line import InputError
from .asked import Asked, Said, Wishes, only_picture
from .bodies import Body, Few, parse
from .pictures import HOW_TO_SEND


class Vision(Body):
    """A request: pictures as data URLs, as PhotoPrism sends them with `FileScheme: data`."""

    id: str = Field(default="", max_length=100)
    prompt: str | None = None
    url: str | None = None
    images: Few[str] | None = None


def read(body: bytes) -> Asked:
    """A request as any API's. Raises InputError if it asks for what there isn't here."""
    request = parse(Vision, body)
    if request.url:
        raise InputError(f"no URL is fetched here: {HOW_TO_SEND}")
    # Without its options: they are for large models, and it sends a temperature whether anybody asks for one or not.
    return Asked(only_picture(request.images or []), request.prompt or "", Wishes(), id=request.id)


def answer(asked: Asked, said: Said) -> Response:
    """The answer. Its confidence is the geometric mean of the probabilities of the caption's tokens."""
    caption = {"text": said.text, "confidence": min(1.0, math.exp(said.score))}
    model = {"type": "caption", "name": said.model}
    return JSONResponse({"id": asked.id, "code": 200, "model": model, "result": {"caption": caption}})
