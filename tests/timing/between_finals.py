"""By how much whole runs of the final are apart that were timed on one machine, hours or minutes apart:
`python -m tests.timing.between_finals`, of the runs kept in between_finals.csv, each with one figure per session.

What sessions of one run share, no number of sessions tells; `BETWEEN_FINALS` is what this finds.
"""

from pathlib import Path

import numpy as np
import pandas as pd

KEPT = Path(__file__).with_suffix(".csv")


def read_kept() -> dict[str, list[np.ndarray]]:
    """The logarithms of the leads: for each model, one array over sessions per run."""
    rows = pd.read_csv(KEPT)
    return {
        str(model): [np.log(run["times_as_fast"].to_numpy()) for _, run in own.groupby("run")]
        for model, own in rows.groupby("model")
    }


def deviation_between(groups: list[list[np.ndarray]]) -> float:
    """The standard deviation that runs of a group share beyond what their sessions explain; 0 if they explain all.

    Groups may have different means. Each run has two sessions or more.
    Source: R. DerSimonian, N. Laird: Meta-Analysis in Clinical Trials, Controlled Clinical Trials, 1986.
    """
    excess = scale = 0.0
    for runs in groups:
        means = np.array([run.mean() for run in runs])
        weights = np.array([len(run) / max(run.var(ddof=1), 1e-12) for run in runs])
        middle = (weights * means).sum() / weights.sum()
        excess += (weights * (means - middle) ** 2).sum() - (len(runs) - 1)
        scale += weights.sum() - (weights**2).sum() / weights.sum()
    return float(max(0.0, excess / scale) ** 0.5)


def main() -> None:
    """Prints each run, and what they share."""
    groups = read_kept()
    for model, runs in groups.items():
        leads = ", ".join(f"{np.exp(run.mean()):.3f} ({len(run)} sessions)" for run in runs)
        print(f"{model}: {leads}; apart by {deviation_between([runs]):.4f}")
    print(f"all: {deviation_between(list(groups.values())):.4f}")


if __name__ == "__main__":
    main()
