"""What programs ask for and are told, whatever the API: a picture, how it is to be captioned, and its caption."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..command_line import InputError, explain
from ..runtimes.decoding import LEAST_TEMPERATURE, Decoding


class Wishes(NamedTuple):
    """How a caption is to be chosen, as far as a request says it and as BLIP can."""

    most_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None


class Asked(NamedTuple):
    """A request in any API: a picture as a data URL or in base64, the text beside it, and whether the answer is to come
    as a stream, which may be one that ends with counts. `id` is the request's own, where it has one."""

    picture: str
    prompt: str
    wishes: Wishes
    stream: bool = False
    with_usage: bool = False
    id: str = ""


class Said(NamedTuple):
    """An answer in no API yet. `score` is the mean log-probability of the caption's tokens, `created` a Unix time,
    `seconds` what it took since the request came."""

    model: str
    text: str
    score: float
    prompt_tokens: int
    tokens: int
    is_cut_off: bool
    created: float
    seconds: float


def decoding_for(own: Decoding, wishes: Wishes, prompt: str | None) -> Decoding:
    """A checkpoint's own decoding, changed as a request wishes and, unless it is None, with a beginning for captions.

    `most_tokens` only ever makes captions shorter. Raises InputError if a wish is out of bounds.
    """
    changed: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
    if wishes.most_tokens is not None:
        most = min(own.max_new_tokens, wishes.most_tokens)
        changed |= {"max_new_tokens": most, "min_new_tokens": min(own.min_new_tokens, most)}
    if wishes.repetition_penalty is not None:
        changed["repetition_penalty"] = wishes.repetition_penalty
    if wishes.temperature is not None:
        changed |= _sampling(own, wishes, wishes.temperature)
    try:
        return Decoding.model_validate(own.model_dump() | changed)
    except ValidationError as error:
        raise InputError(explain(error)) from None


def is_one_of_a_kind(decoding: Decoding, wishes: Wishes) -> bool:
    """Whether a caption must be drawn alone, as its request names a seed: pictures of one batch share its dice."""
    return decoding.temperature > 0 and wishes.seed is not None


def _sampling(own: Decoding, wishes: Wishes, temperature: float) -> dict[str, Any]:
    if 0 <= temperature < LEAST_TEMPERATURE:
        return {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    return {
        "temperature": temperature,
        "beams": 1,
        "top_k": wishes.top_k or 0,
        "top_p": 1.0 if wishes.top_p is None else wishes.top_p,
        "seed": own.seed if wishes.seed is None else wishes.seed % 2**63,  # some programs send negative ones
    }


def only_picture(pictures: Sequence[str]) -> str:
    """The one picture of a request. Raises InputError if there are none or several."""
    if not pictures:
        raise InputError("there is no picture to caption: send one with the request")
    if len(pictures) > 1:
        raise InputError(f"{len(pictures)} pictures came at once: send each with a request of its own")
    return pictures[0]


def refuse_other_forms(form: object) -> None:
    """Raises InputError if a request wants its answer in another form than plain text; most say nothing of it."""
    if form not in (None, "", "text"):
        raise InputError("captions are plain text: ask for no other form")
