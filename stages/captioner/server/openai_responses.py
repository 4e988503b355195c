"""OpenAI's responses, `POST /v1/responses`, as far as one picture and its caption need them."""

from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..command_line import InputError, brief
from .asked import Asked, Said, Wishes, only_picture, refuse_other_forms
from .bodies import Body, Few, Messages, Parts, parse, server_sent
from .openai_chat import EVENTS, Form

TEXTS = ("text", "input_text", "output_text", "refusal")


class Part(Body):
    """A text or a picture of an item."""

    type: str
    text: str = ""
    image_url: str | None = None


class Item(Body):
    """What somebody said, or showed."""

    role: str = ""
    content: Annotated[Few[Part], Parts] = Field(default=[])


class Text(Body):
    """How the answer's text is to be."""

    format: Form | None = None


class Create(Body):
    """A request."""

    input: Annotated[Few[Item], Messages]
    stream: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: Text | None = None


def read(body: bytes) -> Asked:
    """A request as any API's. Raises InputError if it asks for what there isn't here."""
    request = parse(Create, body)
    refuse_other_forms(request.text and request.text.format and request.text.format.type)
    shown = [pictures for item in request.input if (pictures := _pictures(item))]
    said = [item for item in request.input if item.role == "user"]
    return Asked(
        picture=only_picture(shown[-1] if shown else []),
        prompt=" ".join(part.text for part in said[-1].content) if said else "",
        wishes=Wishes(request.max_output_tokens, request.temperature, request.top_p),
        stream=bool(request.stream),
    )


def _pictures(item: Item) -> list[str]:
    for part in item.content:
        if part.type not in (*TEXTS, "input_image"):
            raise InputError(f"a part of the input is of type {brief(part.type)}: send input_text and input_image only")
        if part.type == "input_image" and part.image_url is None:
            raise InputError("no files are kept here: send the picture itself, as image_url")
    return [part.image_url for part in item.content if part.image_url is not None]


def answer(asked: Asked, said: Said) -> Response:
    """The answer, as one object or as a stream of events: the caption comes in one, as all of it is there at once."""
    end = "incomplete" if said.is_cut_off else "completed"
    text = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "status": end, "content": [text]}
    begun = _response(said)
    ended = begun | {
        "status": end,
        "incomplete_details": {"reason": "max_output_tokens"} if said.is_cut_off else None,
        "output": [item],
        "usage": _usage(said),
    }
    if not asked.stream:
        return JSONResponse(ended)
    events = _events(begun, item, text, ended)
    return Response("".join(server_sent(event, event["type"]) for event in events), media_type=EVENTS)


def _response(said: Said) -> dict[str, Any]:
    """A response that has begun."""
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(said.created),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": said.model,
        "output": [],
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _usage(said: Said) -> dict[str, Any]:
    return {
        "input_tokens": said.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.prompt_tokens + said.tokens,
    }


def _events(
    begun: dict[str, Any], item: dict[str, Any], text: dict[str, Any], ended: dict[str, Any]
) -> list[dict[str, Any]]:
    """The events of a stream, in their order, each with its number."""
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": text | {"text": ""}},
        {"type": "response.output_text.delta", **place, "delta": text["text"], "logprobs": []},
        {"type": "response.output_text.done", **place, "text": text["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{ended['status']}", "response": ended},
    ]
    return [event | {"sequence_number": number} for number, event in enumerate(events)]
