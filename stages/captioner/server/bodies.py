"""What the bodies of all APIs' requests have in common, and JSON in the forms in which they stream their answers."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..command_line import InputError, explain

MOST = 256  # messages, or parts of one; a body could hold millions
Element = TypeVar("Element")
Few = Annotated[list[Element], Field(max_length=MOST)]


class Body(BaseModel):
    """What is read of an object in a request. Programs send much more, which changes nothing here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Body)


def parse(kind: type[Kind], body: bytes) -> Kind:
    """A body from its JSON, of bounded depth. Raises InputError if it isn't such."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise InputError(explain(error)) from None


def as_parts(content: Any) -> Any:
    """A message's content as a list of parts, where plain text is short for one part."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [] if content is None else content


def as_messages(content: Any) -> Any:
    """What people say as a list of messages, where plain text is short for one message."""
    return [{"role": "user", "content": content}] if isinstance(content, str) else content


Parts = BeforeValidator(as_parts)
Messages = BeforeValidator(as_messages)


def server_sent(event: dict[str, Any], name: str = "") -> str:
    """An event of a stream as browsers and OpenAI's clients read it."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def json_lines(objects: Iterable[dict[str, Any]]) -> str:
    """A line of JSON for each object."""
    return "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in objects)
