"""Right captions by their score, in groups."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.page.scores import FEWEST_CAPTIONS, MOST_GROUPS, right_by_score
from stages.records.metrics import read_captions, write_captions
from tests.page.pages import make_reports, write
from tests.page.test_web_page import charts_of, parsed, text_of


def judged(captions: int, seed: int) -> pd.DataFrame:
    """Captions that are right the more often, the higher their scores are."""
    dice = np.random.default_rng(seed)
    scores = -dice.exponential(size=captions).round(4)
    return pd.DataFrame({"score": scores, "right": (dice.random(captions) < np.exp(scores)).astype(int)})


@given(captions=st.integers(2 * FEWEST_CAPTIONS, 700), seed=st.integers(0, 99))
def test_groups_hold_all_captions_from_the_least_sure_on(captions: int, seed: int) -> None:
    table = judged(captions, seed)
    bars = right_by_score(table)
    assert len(bars) == min(MOST_GROUPS, captions // FEWEST_CAPTIONS)
    means = [float(bar.name) for bar in bars]
    assert means == sorted(means)
    sizes = [len(part) for part in np.array_split(np.arange(captions), len(bars))]
    right = [size * (bar.value or 0) for size, bar in zip(sizes, bars, strict=True)]
    assert sum(right) == pytest.approx(table["right"].sum())
    assert all(0 <= bar.ends()[0] <= (bar.value or 0) <= bar.ends()[1] <= 1 for bar in bars)


@pytest.mark.parametrize("missing", ["score", "right"])
def test_without_scores_or_judgements_or_with_few_captions_there_are_no_groups(missing: str) -> None:
    assert right_by_score(judged(100, 0).drop(columns=missing)) == []
    assert right_by_score(judged(2 * FEWEST_CAPTIONS - 1, 0)) == []


def test_the_page_draws_the_baseline_and_what_to_ship(tmp_path: Path) -> None:
    captions = 2 * FEWEST_CAPTIONS
    make_reports(tmp_path, {name: ["a dog"] * captions for name in ("baseline", "fast", "small")})
    assert "How sure, how right" not in text_of(parsed(write(tmp_path)))
    for file in (tmp_path / "reports/quality").glob("*.csv"):
        table = read_captions(file)
        write_captions(table.assign(**judged(captions, 1)), file)
    tree = parsed(write(tmp_path))
    assert "How sure, how right" in text_of(tree)
    (words,) = [words for words in charts_of(tree) if words.startswith("Share of right captions by their score.")]
    low, high = right_by_score(judged(captions, 1))
    said = f"{low.name}: {100 * (low.value or 0):.1f} % ("
    assert f"baseline: {said}" in words and f"fast: {said}" in words and "small" not in words
    assert high.name in words
