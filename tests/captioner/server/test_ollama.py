"""Ollama's own client against the running server."""

from pathlib import Path

import ollama
import pytest
from PIL import Image

from tests.captioner.server.servers import Server, alone, in_base64, tokens


@pytest.fixture
def client(server: Server) -> ollama.Client:
    return ollama.Client(host=server.url)


def test_what_is_generated_is_the_caption(client: ollama.Client, checkpoint: Path, pictures: list[Image.Image]) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    found = client.generate(model="blip", prompt="Describe", images=[in_base64(pictures[0])])
    assert found.response == expected.text and found.done and found.model == checkpoint.name
    assert found.eval_count == tokens(checkpoint, expected.text) and found.total_duration
    parts = list(client.generate(model="blip", prompt="Describe", images=[in_base64(pictures[0])], stream=True))
    assert "".join(part.response or "" for part in parts) == expected.text
    assert [part.done for part in parts] == [False, True]


def test_a_chat_is_the_caption(client: ollama.Client, checkpoint: Path, pictures: list[Image.Image]) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    messages = [{"role": "user", "content": "What is this?", "images": [in_base64(pictures[0])]}]
    found = client.chat(model="blip", messages=messages)
    assert found.message.content == expected.text and found.message.role == "assistant"
    parts = list(client.chat(model="blip", messages=messages, stream=True))
    assert "".join(part.message.content or "" for part in parts) == expected.text


def test_options_are_heeded(client: ollama.Client, checkpoint: Path, pictures: list[Image.Image]) -> None:
    images = [in_base64(pictures[0])]
    found = client.generate(model="blip", images=images, options={"num_predict": 2, "temperature": 0, "top_p": 0.5})
    assert found.response == alone(checkpoint, pictures[:1], max_new_tokens=2)[0].text
    assert found.done_reason == "length"
    found = client.generate(model="blip", images=images, options={"num_predict": -1, "repeat_penalty": 5.0})
    assert found.response == alone(checkpoint, pictures[:1], repetition_penalty=5.0)[0].text


def test_the_model_is_listed_and_shown(client: ollama.Client, checkpoint: Path) -> None:
    [model] = client.list().models
    assert model.model == checkpoint.name and model.size and model.modified_at
    assert "vision" in (client.show("blip").capabilities or [])


def test_what_cannot_be_is_a_bad_request(client: ollama.Client, pictures: list[Image.Image]) -> None:
    images = [in_base64(picture) for picture in pictures]
    for given, sentence in (
        ({"images": images[:2]}, "2 pictures came at once"),
        ({"images": []}, "no picture"),
        ({"images": ["bm8gcGljdHVyZQ=="]}, "not a picture"),
        ({"images": images[:1], "format": "json"}, "plain text"),
        ({"images": images[:1], "options": {"repeat_penalty": 0}}, "repetition_penalty"),
    ):
        with pytest.raises(ollama.ResponseError, match=sentence) as caught:
            client.generate(model="blip", **given)
        assert caught.value.status_code == 400
