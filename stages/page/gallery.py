"""The page's gallery: which pictures it shows and why, who says what of them, and which words differ."""

import base64
import io
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import printable, shorten
from stages.captioner.images import open_image

# Of more pictures, the worst, the best and a sample are shown; with many checkpoints fewer, for the page's size.
SHOWN, SHOWN_CAPTIONS = 200, 2400
LONGEST_CAPTION, MOST_REFERENCES = 200, 5  # characters; captions
PICTURE_BYTES = 11_000  # of each picture, before base64 makes it a third longer: together below 3 MB
SIZES = ((256, 75), (256, 50), (160, 45), (96, 30))  # pixels of the longer side, quality of WebP

Step = tuple[str, str]
Examples = list[tuple[Path, list[str]]]  # each picture's file and its reference captions


class Said(NamedTuple):
    """A caption of a picture that is not the baseline's, and the checkpoints that give it."""

    checkpoints: list[str]
    steps: list[Step]  # from the baseline's caption to this one, as `compare_words` says them
    figures: str  # what it costs


class Card(NamedTuple):
    """A picture of the gallery."""

    name: str
    kind: str  # why it is shown where not all are: worst, best or sample
    picture: str  # a data URI
    size: tuple[int, int]
    baseline: str
    same: list[str]  # the checkpoints that give the baseline's caption
    others: list[Said]
    references: list[str]
    order: dict[str, int]  # its place by loss, of all checkpoints ("") and of each


def read_losses(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What each variant loses by picture: `loss`, the CIDEr below the baseline's or, without captions, the KL; `kl`."""
    baseline = tables[BASELINE.name]
    return {
        name: pd.DataFrame({"loss": baseline["cider"] - own["cider"] if "cider" in own else own["kl"], "kl": own["kl"]})
        for name, own in tables.items()
        if name != BASELINE.name
    }


def worst_first(losses: dict[str, pd.DataFrame], pictures: int) -> dict[str, list[int]]:
    """All pictures by their loss, the largest first: "" by the largest of any checkpoint, then each checkpoint's."""
    nothing = pd.DataFrame({"loss": np.zeros(pictures), "kl": np.zeros(pictures)})
    largest = pd.concat(losses.values()).groupby(level=0).max() if losses else nothing
    return {
        name: np.lexsort((np.arange(pictures), -own["kl"].to_numpy(), -own["loss"].to_numpy().round(6))).tolist()
        for name, own in {"": largest, **losses}.items()
    }


def choose(orders: dict[str, list[int]], count: int) -> dict[int, str]:
    """Which pictures to show, and why if not all: half are the worst of each checkpoint in turn, a quarter the best."""
    pictures = len(orders[""])
    if pictures <= count:
        return dict.fromkeys(range(pictures), "")
    own = [order for name, order in orders.items() if name] or [orders[""]]
    worst = _first(_in_turn(own), count - count // 2)
    best = _first((picture for picture in _in_turn([order[::-1] for order in own]) if picture not in worst), count // 4)
    rest = [picture for picture in range(pictures) if picture not in {*worst, *best}]
    sample = np.random.default_rng(0).choice(rest, count - len(worst) - len(best), replace=False).tolist()
    return dict.fromkeys(worst, "worst") | dict.fromkeys(best, "best") | dict.fromkeys(sample, "sample")


def _in_turn(orders: Sequence[list[int]]) -> Iterable[int]:
    return chain.from_iterable(zip(*orders, strict=True))


def _first(pictures: Iterable[int], count: int) -> list[int]:
    found: dict[int, None] = {}
    for picture in pictures:
        if len(found) == count:
            break
        found[picture] = None
    return list(found)


def compare_words(baseline: str, caption: str) -> list[Step]:
    """How one caption becomes another, word by word: ("same" or "deleted" or "inserted", words)."""
    old, new = baseline.split(), caption.split()
    steps: list[Step] = []
    for kind, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            steps.append(("same", " ".join(old[start:end])))
            continue
        steps += [("deleted", " ".join(old[start:end]))] if end > start else []
        steps += [("inserted", " ".join(new[new_start:new_end]))] if new_end > new_start else []
    return steps


def data_uri(path: Path, size: int = PICTURE_BYTES) -> tuple[str, tuple[int, int]]:
    """A picture as a small WebP in a data URI, of so many bytes if it can be, and its (width, height).

    Raises InputError if the picture can't be opened.
    """
    picture = open_image(path)
    for side, quality in SIZES:
        picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=2)
        if file.tell() <= size:
            break
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", picture.size


def make_gallery(tables: dict[str, pd.DataFrame], examples: Examples) -> list[Card]:
    """The cards of the pictures to show, worst first.

    Takes each checkpoint's table of `stages.evaluate`, and what it was made of: paths and reference captions, in the
    same order.
    """
    losses = read_losses(tables)
    orders = worst_first(losses, len(examples))
    shown = choose(orders, max(12, min(SHOWN, SHOWN_CAPTIONS // len(tables))))
    places = {name: {picture: place for place, picture in enumerate(order)} for name, order in orders.items()}
    return [
        _card(picture, kind, examples[picture], tables, {name: own[picture] for name, own in places.items()})
        for picture, kind in sorted(shown.items(), key=lambda item: places[""][item[0]])
    ]


def _card(
    picture: int,
    kind: str,
    example: tuple[Path, list[str]],
    tables: dict[str, pd.DataFrame],
    order: dict[str, int],
) -> Card:
    path, references = example
    baseline = str(tables[BASELINE.name]["caption"].iloc[picture])
    said = who_says({name: str(own["caption"].iloc[picture]) for name, own in tables.items()})
    same = [name for name in said.pop(baseline) if name != BASELINE.name]
    uri, size = data_uri(path)
    return Card(
        name=as_line(path.name),
        kind=kind,
        picture=uri,
        size=size,
        baseline=as_line(baseline),
        same=same,
        others=[
            Said(names, compare_words(as_line(baseline), as_line(caption)), _figures(tables, names, picture))
            for caption, names in said.items()
        ],
        references=[as_line(reference) for reference in references[:MOST_REFERENCES]],
        order=order,
    )


def who_says(captions: dict[str, str]) -> dict[str, list[str]]:
    """Each caption of a picture, in order, and the checkpoints that give it."""
    found: dict[str, list[str]] = {}
    for name, caption in captions.items():
        found.setdefault(caption, []).append(name)
    return found


def _figures(tables: dict[str, pd.DataFrame], names: list[str], picture: int) -> str:
    own = tables[names[0]]
    if "cider" in own:
        before, after = (float(table["cider"].iloc[picture]) for table in (tables[BASELINE.name], own))
        return f"CIDEr {after:.2f}, the baseline's {before:.2f}"
    return "KL " + ", ".join(f"{tables[name]['kl'].iloc[picture]:.4f}" for name in names) + " nats"


def as_line(text: str) -> str:
    """Text in one line of bounded length, with escapes for what no page shows."""
    return shorten(printable(" ".join(text.split())), LONGEST_CAPTION)
