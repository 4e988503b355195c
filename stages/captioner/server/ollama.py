"""Ollama's `POST /api/generate` and `/api/chat`, as far as one picture and its caption need them."""

from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from .asked import Asked, Said, Wishes, only_picture, refuse_other_forms
from .bodies import Body, Few, json_lines, parse

LINES = "application/x-ndjson"


class Options(Body):
    """How a caption is to be chosen."""

    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    seed: int | None = None

    def wishes(self) -> Wishes:
        """The same in any API's words. A `num_predict` below 0 is no limit."""
        most = None if self.num_predict is None or self.num_predict < 0 else self.num_predict
        return Wishes(most, self.temperature, self.top_p, self.top_k, self.repeat_penalty, self.seed)


class Generate(Body):
    """A request of /api/generate."""

    prompt: str | None = None
    images: Few[str] | None = None
    options: Options | None = None
    format: Any = None
    stream: bool | None = None


class Message(Body):
    """What somebody said, or showed."""

    role: str
    content: str | None = None
    images: Few[str] | None = None


class Chat(Body):
    """A request of /api/chat."""

    messages: Few[Message]
    options: Options | None = None
    format: Any = None
    stream: bool | None = None


def read_generate(body: bytes) -> Asked:
    """A request as any API's. Raises InputError if it asks for what there isn't here."""
    request = parse(Generate, body)
    return _asked(request, request.images or [], request.prompt or "")


def read_chat(body: bytes) -> Asked:
    """A request as any API's. Raises InputError if it asks for what there isn't here."""
    request = parse(Chat, body)
    shown = [message.images for message in request.messages if message.images]
    said = [message.content or "" for message in request.messages if message.role == "user"]
    return _asked(request, shown[-1] if shown else [], said[-1] if said else "")


def _asked(request: Generate | Chat, pictures: list[str], prompt: str) -> Asked:
    refuse_other_forms(request.format)
    wishes = (request.options or Options()).wishes()
    return Asked(only_picture(pictures), prompt, wishes, stream=request.stream is not False)


def answer_generate(asked: Asked, said: Said) -> Response:
    """The answer, as one object or as lines of which the last has the counts."""
    return _answer(asked, said, {"response": said.text}, {"response": ""})


def answer_chat(asked: Asked, said: Said) -> Response:
    """The answer, as one object or as lines of which the last has the counts."""
    message = {"role": "assistant", "content": said.text}
    return _answer(asked, said, {"message": message}, {"message": message | {"content": ""}})


def _answer(asked: Asked, said: Said, text: dict[str, Any], no_text: dict[str, Any]) -> Response:
    same = {"model": said.model, "created_at": timestamp(said.created)}
    end = {
        "done": True,
        "done_reason": "length" if said.is_cut_off else "stop",
        "total_duration": round(said.seconds * 1e9),
        "prompt_eval_count": said.prompt_tokens,
        "eval_count": said.tokens,
    }
    if not asked.stream:
        return JSONResponse(same | text | end)
    return Response(json_lines([same | text | {"done": False}, same | no_text | end]), media_type=LINES)


def timestamp(seconds: float) -> str:
    """A Unix time as Ollama writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
