"""How often captions are right, by the score that the model gave them: what a score can tell on drawn scenes."""

import numpy as np
import pandas as pd

from stages.page.web_charts import Bar
from stages.scoring.small_samples import estimate_share

# A share of fewer captions says little; more groups say no more.
FEWEST_CAPTIONS, MOST_GROUPS = 25, 10


def right_by_score(table: pd.DataFrame) -> list[Bar]:
    """The share of captions that are right, with its interval, in groups of like size from the lowest scores to the
    highest; the names are the groups' mean scores. None if nobody judges, or of too few captions for two groups.

    `table` is of `stages.evaluate`.
    """
    groups = min(MOST_GROUPS, len(table) // FEWEST_CAPTIONS)
    if groups < 2 or not {"score", "right"} <= set(table.columns):
        return []
    ranked = table.sort_values("score", kind="stable")
    bars: list[Bar] = []
    for places in np.array_split(np.arange(len(ranked)), groups):
        group = ranked.iloc[places]
        bars.append(Bar(f"{group['score'].mean():.3f}", *estimate_share(group["right"].to_numpy())))
    return bars
