"""OpenAI's own client against the running server."""

import math
from pathlib import Path

import openai
import pytest
from PIL import Image

from tests.captioner.server.servers import Server, alone, ask, chat, data_url, serving, tokens


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_a_chat_completion_is_the_caption(client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]) -> None:
    for picture, expected in zip(pictures, alone(checkpoint, pictures), strict=True):
        found = client.chat.completions.create(**chat(picture, max_tokens=300))
        assert found.choices[0].message.content == expected.text
        count = tokens(checkpoint, expected.text)
        assert found.usage and found.usage.completion_tokens == count and found.usage.prompt_tokens == 0
        assert found.usage.total_tokens == count
        assert found.choices[0].finish_reason == ("length" if count >= 20 else "stop")
        assert found.model == checkpoint.name and found.object == "chat.completion"


def test_a_stream_of_chunks_is_the_caption(
    client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]
) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**chat(pictures[0], **options)))
    said = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(filter(None, said)) == expected.text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == tokens(checkpoint, expected.text)
    assert len({chunk.id for chunk in chunks}) == 1
    without = list(client.chat.completions.create(**chat(pictures[0], stream=True)))
    assert len(without) == len(chunks) - 1 and not any(chunk.usage for chunk in without)


def responses_input(picture: Image.Image) -> list[dict[str, object]]:
    content = [{"type": "input_text", "text": "Describe it"}, {"type": "input_image", "image_url": data_url(picture)}]
    return [{"role": "system", "content": "You describe."}, {"role": "user", "content": content}]


def test_a_response_is_the_caption(client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    found = client.responses.create(model="blip", input=responses_input(pictures[0]))
    assert found.output_text == expected.text
    assert found.usage and found.usage.output_tokens == tokens(checkpoint, expected.text)
    cut = client.responses.create(model="blip", input=responses_input(pictures[0]), max_output_tokens=2)
    assert cut.output_text == alone(checkpoint, pictures[:1], max_new_tokens=2)[0].text
    assert cut.status == "incomplete" and cut.incomplete_details
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_a_stream_of_events_is_the_response(
    client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]
) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    events = list(client.responses.create(model="blip", input=responses_input(pictures[0]), stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == expected.text
    assert events[0].type == "response.created" and events[-1].type in ("response.completed", "response.incomplete")
    assert events[-1].response.output_text == expected.text
    with client.responses.stream(model="blip", input=responses_input(pictures[0])) as stream:
        followed = [event.type for event in stream]
    assert followed == [event.type for event in events], "the client that follows the state of things agrees"


def test_the_model_is_listed(client: openai.OpenAI, checkpoint: Path) -> None:
    [model] = client.models.list().data
    assert model.id == checkpoint.name and model.created > 1e9


def test_the_newest_picture_is_captioned(client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]) -> None:
    first, second = (chat(picture)["messages"] for picture in pictures[:2])
    spoken = [*first, {"role": "assistant", "content": "a dog"}, *second, {"role": "user", "content": "Sure?"}]
    found = client.chat.completions.create(model="blip", messages=spoken)
    assert found.choices[0].message.content == alone(checkpoint, pictures[1:2])[0].text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_tokens": 0}, "max_new_tokens"),
        ({"n": 2}, "one caption"),
        ({"response_format": {"type": "json_object"}}, "plain text"),
        ({"temperature": -1}, "temperature"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "no picture"),
        ({"messages": "Hello"}, "messages"),
    ],
)
def test_what_cannot_be_is_a_bad_request(
    client: openai.OpenAI, pictures: list[Image.Image], changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=sentence) as caught:
        client.chat.completions.create(**chat(pictures[0]) | changes)
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "url", ["https://example.com/a.jpg", "http://localhost/a.jpg", "file:///etc/passwd", "ftp://x"]
)
def test_no_url_is_fetched(client: openai.OpenAI, url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError, match="no URL is fetched here"):
        client.chat.completions.create(model="blip", messages=[{"role": "user", "content": content}])


def test_a_prompt_is_a_beginning_only_where_the_server_was_told_so(
    server: Server, checkpoint: Path, pictures: list[Image.Image]
) -> None:
    plain, begun = alone(checkpoint, pictures[:1])[0], alone(checkpoint, pictures[:1], prompt="a picture of")[0]
    assert plain.text != begun.text
    body = chat(pictures[0], "a picture of")
    assert ask(server, "POST", "/v1/chat/completions", body).json["choices"][0]["message"]["content"] == plain.text
    with serving(checkpoint, "--prompt-as-prefix") as other:
        found = ask(other, "POST", "/v1/chat/completions", body).json
        assert found["choices"][0]["message"]["content"] == begun.text
        assert found["usage"]["prompt_tokens"] == tokens(checkpoint, "a picture of")
        long = ask(other, "POST", "/v1/chat/completions", chat(pictures[0], "dog " * 100))
        assert long.status == 400 and "room" in long.json["error"]["message"]


def test_sampling_follows_the_seed(client: openai.OpenAI, checkpoint: Path, pictures: list[Image.Image]) -> None:
    found = [
        client.chat.completions.create(**chat(pictures[0], temperature=1, seed=seed)).choices[0].message.content
        for seed in (1, 1, 2, 3)
    ]
    assert found[0] == found[1] == alone(checkpoint, pictures[:1], temperature=1.0, seed=1)[0].text
    assert len(set(found)) > 1
    assert math.isfinite(alone(checkpoint, pictures[:1])[0].score)
