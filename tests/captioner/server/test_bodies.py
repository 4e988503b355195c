"""Whatever a body holds: it is a request or an InputError, and an answer with a status."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.server.application import APIS
from stages.captioner.server.asked import Asked, Wishes, decoding_for
from stages.captioner.server.pictures import MOST_PIXELS, open_picture, picture_bytes
from tests.captioner.server.servers import Server, ask, chat, data_url, in_base64

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PICTURE = "aGVsbG8="
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}],
        "max_tokens": 5,
        "temperature": 0.5,
        "stream": False,
    },
    "/v1/responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}]},
    "/api/generate": {"images": [PICTURE], "options": {"num_predict": 5, "seed": -1, "top_k": 3}, "stream": False},
    "/api/chat": {"messages": [{"role": "user", "content": "x", "images": [PICTURE]}]},
    "/api/v1/vision/caption": {"id": "1", "images": [PICTURE], "options": {"temperature": 0.1}},
}


def places(value: Any) -> list[tuple[Any, Any]]:
    """All containers of a JSON value with each of their keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [found for key in keys for found in places(value[key])]


@st.composite
def damaged(draw: st.DrawFn, path: str) -> bytes:
    """A body of a path in which something else stands in some places."""
    body = json.loads(json.dumps(VALID[path]))
    for _ in range(draw(st.integers(0, 2))):
        if found := places(body):
            container, key = draw(st.sampled_from(found))
            container[key] = draw(ANY_JSON)
    content = json.dumps(body).encode()
    cut = draw(st.integers(0, len(content)) | st.just(len(content)))
    return content[:cut] + draw(st.binary(max_size=3) | st.just(b""))


@pytest.mark.parametrize("path", APIS)
@given(data=st.data())
def test_any_body_is_a_request_or_a_sentence(path: str, data: st.DataObject) -> None:
    body = data.draw(damaged(path) | st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
    try:
        asked = APIS[path].read(body)
    except InputError as error:
        assert 0 < len(str(error)) <= 500 and "\n" not in str(error)
    else:
        assert isinstance(asked, Asked) and isinstance(asked.picture, str)


@pytest.mark.parametrize("path", APIS)
def test_a_valid_body_is_a_request(path: str) -> None:
    assert APIS[path].read(json.dumps(VALID[path]).encode()).picture == PICTURE


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'{"messages":' + b"[" * 100_000,
        b'{"messages":[' + b"{}," * 100_000 + b"{}]}",
        b'{"images":[' + b"1," * 100_000 + b"1]}",
        b'{"input":[' + b'{"role":"user","content":[5]},' * 100_000 + b"5]}",
        b'{"max_tokens":' + b"9" * 100_000 + b"}",
        b'{"temperature":NaN}',
        b"\xff\xfe",
        b'"\\ud800"',
    ],
)
def test_deep_and_long_bodies_are_refused(path: str, body: bytes) -> None:
    with pytest.raises(InputError):
        APIS[path].read(body)


@given(
    st.builds(
        Wishes,
        *(st.none() | st.integers(), st.none() | st.floats(), st.none() | st.floats()),
        *(st.none() | st.integers(), st.none() | st.floats(), st.none() | st.integers()),
    ),
    st.none() | st.text(max_size=30),
)
def test_any_wishes_are_a_decoding_or_a_sentence(wishes: Wishes, prompt: str | None) -> None:
    own = Decoding(max_new_tokens=20, min_new_tokens=3, beams=2)
    try:
        found = decoding_for(own, wishes, prompt)
    except InputError:
        return
    assert found.max_new_tokens <= own.max_new_tokens
    assert found.prompt == (own.prompt if prompt is None else " ".join(prompt.split()))
    if not wishes.temperature:
        assert (found.beams, found.seed, found.temperature) == (own.beams, own.seed, 0), "a seed parts no batches"


def test_wishes_that_say_nothing_change_nothing() -> None:
    own = Decoding(beams=3, length_penalty=0.5, drafts=1)
    assert decoding_for(own, Wishes(), None) == own
    assert decoding_for(own, Wishes(most_tokens=4096, top_p=0.9, top_k=40, seed=7), None) == own


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_server_answers_whatever_comes(server: Server, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([*APIS]))
    body = data.draw(damaged(path) | st.binary(max_size=200))
    answer = ask(server, "POST", path, body)
    assert answer.status == 400 and answer.json["error"], "the picture is none"


# Pictures


def test_a_picture_comes_as_a_data_url_or_in_base64(pictures: list[Image.Image]) -> None:
    wrapped = "\r\n".join(in_base64(pictures[0])[start : start + 76] for start in range(0, 100_000, 76)).strip()
    for text in (data_url(pictures[0]), in_base64(pictures[0]), wrapped, data_url(pictures[0]).replace("data", "DATA")):
        assert open_picture(picture_bytes(text)).tobytes() == pictures[0].tobytes()


@pytest.mark.parametrize("text", ["data:image/png,abc", "https://example.com/a.png", "c:\\a", "%%%", "é", "abc"])
def test_what_holds_no_picture_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        picture_bytes(text)


def test_no_name_of_a_file_of_ours_is_told() -> None:
    for content in (b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 30):
        with pytest.raises(InputError, match="the picture") as caught:
            open_picture(content)
        assert "blip-on-cpu-" not in str(caught.value)


def test_large_pictures_are_averaged_and_larger_ones_refused(server: Server, tmp_path: Path) -> None:
    large = Image.new("RGB", (8000, 4000), (10, 20, 30))
    large.save(tmp_path / "large.png")
    seen = open_picture((tmp_path / "large.png").read_bytes())
    assert seen.size == (4000, 2000) and seen.getpixel((5, 5)) == (10, 20, 30)
    huge = Image.new("1", (10_000, MOST_PIXELS // 10_000 + 1))
    answer = ask(server, "POST", "/v1/chat/completions", chat(huge))
    assert answer.status == 400 and "64 million pixels" in answer.json["error"]["message"]
