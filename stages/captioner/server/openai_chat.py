"""OpenAI's chat completions, `POST /v1/chat/completions`, as far as one picture and its caption need them."""

from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..command_line import InputError, brief
from .asked import Asked, Said, Wishes, only_picture, refuse_other_forms
from .bodies import Body, Few, Parts, parse, server_sent

EVENTS = "text/event-stream"


class Link(Body):
    """Where a picture is: in the URL itself."""

    url: str


class Part(Body):
    """A text or a picture of a message."""

    type: str
    text: str = ""
    image_url: Link | None = None


class Message(Body):
    """What somebody said, or showed."""

    role: str
    content: Annotated[Few[Part], Parts] = Field(default=[])


class Form(Body):
    """In which form an answer is to come."""

    type: str


class StreamOptions(Body):
    """Whether a stream ends with counts."""

    include_usage: bool = False


class Completion(Body):
    """A request."""

    messages: Few[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int | None = None
    response_format: Form | None = None


def read(body: bytes) -> Asked:
    """A request as any API's. Raises InputError if it asks for what there isn't here."""
    request = parse(Completion, body)
    refuse_other_forms(request.response_format and request.response_format.type)
    if request.n not in (None, 1):
        raise InputError("a picture has one caption here: leave n out")
    shown = [pictures for message in request.messages if (pictures := _pictures(message))]
    said = [message for message in request.messages if message.role == "user"]
    limits = [each for each in (request.max_tokens, request.max_completion_tokens) if each is not None]
    return Asked(
        picture=only_picture(shown[-1] if shown else []),
        prompt=" ".join(part.text for part in said[-1].content) if said else "",
        wishes=Wishes(min(limits, default=None), request.temperature, request.top_p, seed=request.seed),
        stream=bool(request.stream),
        with_usage=request.stream_options is not None and request.stream_options.include_usage,
    )


def _pictures(message: Message) -> list[str]:
    for part in message.content:
        if part.type not in ("text", "image_url", "refusal"):
            raise InputError(f"a part of a message is of type {brief(part.type)}: send text and image_url only")
    return [part.image_url.url for part in message.content if part.image_url]


def answer(asked: Asked, said: Said) -> Response:
    """The answer, as one object or as a stream of chunks: the caption comes in one, as all of it is there at once."""
    same = {"id": f"chatcmpl-{uuid4().hex}", "created": int(said.created), "model": said.model}
    usage = {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.tokens,
        "total_tokens": said.prompt_tokens + said.tokens,
    }
    reason = "length" if said.is_cut_off else "stop"
    message = {"role": "assistant", "content": said.text}
    if not asked.stream:
        choice = {"index": 0, "message": message | {"refusal": None}, "logprobs": None, "finish_reason": reason}
        return JSONResponse(same | {"object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[tuple[dict[str, Any], str | None]] = [(message, None), ({}, reason)]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]} for delta, end in deltas
    ]
    if asked.with_usage:
        chunks.append({"choices": [], "usage": usage})
    events = [server_sent(same | {"object": "chat.completion.chunk"} | chunk) for chunk in chunks]
    return Response("".join(events) + "data: [DONE]\n\n", media_type=EVENTS)
