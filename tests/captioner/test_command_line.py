import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from stages.captioner.command_line import LONGEST_MESSAGE, InputError, explain, printable, read_text, shorten


class Settings(BaseModel):
    names: dict[str, list[int]]


def explained(text: str) -> str:
    with pytest.raises(ValidationError) as error:
        Settings.model_validate_json(text)
    return str(InputError(f"settings.json is wrong: {explain(error.value)}: correct it"))


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_what_is_printable_is_one_line_that_every_terminal_shows(text: str) -> None:
    line = printable(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert line.encode("utf-8").decode("utf-8") == line


def test_bytes_and_control_characters_are_shown_as_escapes() -> None:
    name = b"caf\xe9\n\x1b[31m \xe4\xb8\xad.jpg".decode("utf-8", "surrogateescape")
    assert printable(name) == r"caf\xe9\n\x1b[31m 中.jpg"
    assert printable("a\u202egpj.exe") == r"a\u202egpj.exe"


@given(st.text(max_size=30), st.integers(3, 20))
def test_long_texts_lose_their_middle(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text or (short[0] == text[0] and short[-1] == text[-1] and "…" in short)


@given(st.text(min_size=1), st.integers(1, 2000))
def test_every_message_is_one_bounded_line(part: str, times: int) -> None:
    message = str(InputError(f"{part * times} is wrong: correct it"))
    assert len(message) <= LONGEST_MESSAGE
    assert len(message.splitlines()) == 1
    assert message.endswith("is wrong: correct it")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"names": {"a": [1, 2' + " " * 2_000_000, "EOF"),
        (json.dumps({"names": {"a": ["x" * 2_000_000]}}), "names.a.0: Input should be a valid integer"),
        (json.dumps({"names": {"a" * 2_000_000: ["x"]}}), "valid integer"),
        (json.dumps({"names": [["x"] * 1000] * 1000}), "names: Input should be"),
        (json.dumps({"names": {"a": ["line\nline\x1b[2J"]}}), r"(got 'line\nline\x1b[2J')"),
    ],
)
def test_a_wrong_value_of_any_size_is_explained_in_one_bounded_line(text: str, part: str) -> None:
    message = explained(text)
    assert part in message
    assert message.startswith("settings.json is wrong: ") and message.endswith(": correct it")
    assert len(message) <= LONGEST_MESSAGE and message.isprintable()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_as_editors_write_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text.json"
    path.write_bytes("{\r\n  «å»\r\n}".encode(encoding))
    assert read_text(path) == "{\r\n  «å»\r\n}"
    path.write_bytes(codecs.BOM_UTF16_BE + "{}".encode("utf-16-be"))
    assert read_text(path) == "{}"


def test_what_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "text.json"
    for content in (b"\xff\xfea", b"caf\xe9", b"\x89PNG\r\n\x1a\n\0\0"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"text\.json is not text in UTF-8"):
            read_text(path)
    with pytest.raises(InputError, match="can't be read"):
        read_text(tmp_path)
