from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.page.gallery import PICTURE_BYTES, as_line, choose, compare_words, data_uri, make_gallery, worst_first

words = st.lists(st.sampled_from(["a", "dog", "cat", "and", "狗", "<b>"]), max_size=12)


@given(words, words)
def test_deleted_and_inserted_words_lead_from_one_caption_to_the_other(old: list[str], new: list[str]) -> None:
    steps = compare_words(" ".join(old), " ".join(new))
    assert " ".join(said for kind, said in steps if kind != "inserted").split() == old
    assert " ".join(said for kind, said in steps if kind != "deleted").split() == new
    assert {kind for kind, _ in steps} <= {"same", "deleted", "inserted"}
    assert all(said for _, said in steps)


def test_one_changed_word_is_one_change() -> None:
    steps = compare_words("a black dog in the snow", "a black cat in the snow")
    assert steps == [("same", "a black"), ("deleted", "dog"), ("inserted", "cat"), ("same", "in the snow")]


orders = st.integers(1, 40).flatmap(
    lambda pictures: st.dictionaries(st.sampled_from("abc"), st.permutations(range(pictures)), max_size=3).map(
        lambda own: {"": list(range(pictures)), **own}
    )
)


@given(orders, st.integers(1, 50))
def test_so_many_pictures_are_shown_and_of_more_the_worst_of_each_checkpoint(
    own: dict[str, list[int]], count: int
) -> None:
    chosen = choose(own, count)
    pictures = len(own[""])
    assert len(chosen) == min(count, pictures)
    assert set(chosen) <= set(range(pictures))
    if pictures <= count:
        assert set(chosen.values()) == {""}
        return
    checkpoints = [order for name, order in own.items() if name] or [own[""]]
    if count - count // 2 >= len(checkpoints):
        assert {order[0] for order in checkpoints} <= {picture for picture, kind in chosen.items() if kind == "worst"}
    assert list(chosen.values()).count("best") == count // 4


def table(captions: list[str], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"image": [f"{index}.png" for index in range(len(captions))], "caption": captions, **columns})


@pytest.fixture
def examples(tmp_path: Path) -> list[tuple[Path, list[str]]]:
    for index in range(3):
        Image.new("RGB", (300, 200), (80 * index, 0, 0)).save(tmp_path / f"{index}.png")
    return [(tmp_path / f"{index}.png", ["a reference"] if index else []) for index in range(3)]


def test_the_largest_loss_of_cider_comes_first(examples: list[tuple[Path, list[str]]]) -> None:
    tables = {
        "baseline": table(["a", "b", "c"], cider=[1.0, 2.0, 3.0]),
        "one": table(["a", "b", "d"], cider=[1.0, 2.0, 2.5], kl=[0.3, 0.1, 0.2]),
        "two": table(["x", "b", "c"], cider=[1.1, 2.0, 3.0], kl=[0.0, 0.2, 0.0]),
    }
    cards = make_gallery(tables, examples)
    assert [card.name for card in cards] == ["2.png", "0.png", "1.png"]  # a gain of 0.1 is no loss: KL decides
    assert [card.order["two"] for card in cards] == [1, 2, 0]
    worst = cards[0]
    assert (worst.baseline, worst.same, [own.checkpoints for own in worst.others]) == ("c", ["two"], [["one"]])
    assert worst.others[0].figures == "CIDEr 2.50, the baseline's 3.00"
    assert worst.references == ["a reference"] and cards[1].references == []
    assert worst.size == (256, 171)


def test_without_captions_the_largest_divergence_comes_first(examples: list[tuple[Path, list[str]]]) -> None:
    tables = {
        "baseline": table(["a", "b", ""]),
        "one": table(["a", "x", ""], kl=[0.1, 0.2, 0.3]),
        "two": table(["a", "x", "c"], kl=[0.9, 0.2, 0.1]),
    }
    cards = make_gallery(tables, examples)
    assert [card.name for card in cards] == ["0.png", "2.png", "1.png"]
    assert cards[2].others[0].checkpoints == ["one", "two"]
    assert cards[2].others[0].figures == "KL 0.2000, 0.2000 nats"
    assert cards[1].baseline == "" and cards[1].others[0].steps == [("inserted", "c")]


def test_without_variants_pictures_keep_their_order() -> None:
    assert worst_first({}, 4) == {"": [0, 1, 2, 3]}


@pytest.mark.parametrize(("width", "height"), [(640, 480), (30, 20), (256, 3000)])
def test_pictures_take_few_bytes_whatever_they_show(tmp_path: Path, width: int, height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    uri, size = data_uri(tmp_path / "noise.png")
    assert len(uri) < PICTURE_BYTES * 4 / 3 + 40
    assert max(size) <= 256 and size[0] / size[1] == pytest.approx(width / height, rel=0.1)


def test_a_line_is_bounded_and_shows_what_can_not_be_seen() -> None:
    assert as_line("two\nlines \u202e\x00") == "two lines \\u202e\\x00"
    assert len(as_line("x" * 9999)) == 200
