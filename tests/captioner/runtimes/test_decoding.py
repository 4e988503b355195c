import math

import pytest
from pydantic import ValidationError

from stages.captioner.runtimes.decoding import Decoding

FRACTIONS = ("length_penalty", "repetition_penalty", "temperature", "top_p")


def test_a_prompt_is_kept_in_one_form() -> None:
    assert Decoding(prompt="  a \n picture\tof ") == Decoding(prompt="a picture of")
    assert Decoding(prompt=" \t ") == Decoding()


def test_banned_words_are_kept_in_one_form_and_in_json() -> None:
    decoding = Decoding.model_validate({"banned_words": [" araffe", "a \n cat"]})
    assert decoding.banned_words == ("araffe", "a cat")
    assert Decoding.model_validate_json(decoding.model_dump_json()) == decoding


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 5}, "set temperature above 0"),
        ({"top_p": 0.9}, "set temperature above 0"),
        ({"temperature": 1.0, "beams": 3}, "exclude each other"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens is above max_new_tokens"),
        ({"beams": 0}, "beams"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"bemas": 3}, "bemas"),
        *(({name: value}, name) for name in FRACTIONS for value in (math.nan, math.inf, -math.inf, 1e300, -1e300)),
        *(({name: 10**30}, name) for name in ("seed", "top_k", "beams", "max_new_tokens")),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"temperature": 1e-40}, "temperature"),
        ({"repetition_penalty": 1e-30}, "repetition_penalty"),
        ({"prompt": "a \udcff"}, "prompt"),
        ({"prompt": "a" * 100_000}, "prompt"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram"),
        ({"no_repeat_ngram": 501}, "no_repeat_ngram"),
        ({"banned_words": "araffe"}, "banned_words"),
        ({"banned_words": ["araffe", " \t"]}, "a banned word is blank: leave it out"),
        ({"banned_words": ["a" * 101]}, "banned_words"),
        ({"banned_words": ["a"] * 1001}, "banned_words"),
        ({"banned_words": ["a \udcff"]}, "banned_words"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Decoding.model_validate(settings)


def test_exactly_changes_only_the_lengths() -> None:
    decoding = Decoding(prompt="a", beams=3, length_penalty=2.0)
    exact = decoding.exactly(5)
    assert (exact.min_new_tokens, exact.max_new_tokens) == (5, 5)
    assert exact.model_copy(update={"min_new_tokens": 0, "max_new_tokens": 20}) == decoding
