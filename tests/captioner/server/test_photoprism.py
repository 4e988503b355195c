"""Requests as PhotoPrism makes them (its internal/ai/vision, November 2026): of its own API, and in Ollama's and
OpenAI's."""

import math
from pathlib import Path

import pytest
from PIL import Image

from tests.captioner.server.servers import Server, alone, ask, data_url, in_base64

PROMPT = "Create a caption with exactly one sentence in the active voice that describes the main visual content."


def test_its_own_api_has_caption_and_confidence(server: Server, checkpoint: Path, pictures: list[Image.Image]) -> None:
    [expected] = alone(checkpoint, pictures[:1])
    body = {
        "id": "0b3c7b6e-0b5a-4d8e-9c49-1f0c2c1d3e4f",
        "model": "blip",
        "version": "latest",
        "prompt": PROMPT,
        "suffix": "",
        "stream": False,
        "options": {"temperature": 0.1},  # which it always sends, so that it wishes nothing
        "images": [data_url(pictures[0])],
    }
    answer = ask(server, "POST", "/api/v1/vision/caption", body, Content_Type="application/json")
    assert answer.status == 200
    caption = answer.json["result"]["caption"]
    assert caption["text"] == expected.text
    assert caption["confidence"] == pytest.approx(math.exp(expected.score), rel=1e-3) and 0 < caption["confidence"] <= 1
    assert answer.json["id"] == body["id"] and answer.json["model"]["name"] == checkpoint.name


def test_it_is_told_what_is_wrong(server: Server) -> None:
    for body in ({"url": "https://example.com/api/v1/dl/1"}, {"images": ["https://example.com/1"]}, {"images": []}):
        answer = ask(server, "POST", "/api/v1/vision/caption", body)
        assert answer.status == 400 and answer.json["code"] == 400 and isinstance(answer.json["error"], str)


def test_its_ollama_engine_is_answered(server: Server, checkpoint: Path, pictures: list[Image.Image]) -> None:
    options = {"num_ctx": 4096, "num_predict": 300}
    body = {"model": "blip:latest", "prompt": PROMPT, "suffix": "", "options": options, "stream": False}
    answer = ask(server, "POST", "/api/generate", body | {"images": [in_base64(pictures[0])]})
    assert answer.json["response"] == alone(checkpoint, pictures[:1])[0].text


def test_its_openai_engine_is_answered(server: Server, checkpoint: Path, pictures: list[Image.Image]) -> None:
    texts = [{"type": "input_text", "text": PROMPT}]
    image = {"type": "input_image", "image_url": data_url(pictures[0]), "detail": "low"}
    system = {"role": "system", "type": "message", "content": texts}
    body = {
        "model": "gpt-5-mini",
        "input": [system, {"role": "user", "type": "message", "content": [*texts, image]}],
        "reasoning": {"effort": "low"},
        "max_output_tokens": 512,
    }
    answer = ask(server, "POST", "/v1/responses", body, Authorization="Bearer none")
    assert answer.json["output"][0]["content"][0]["text"] == alone(checkpoint, pictures[:1])[0].text
