"""How figures lie on disk: JSON objects of scalars, sorted, so that `dvc metrics diff` and Git show what changed, and
lists of such objects for `dvc plots`."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # few stages need it, and all would wait for its import
    import pandas as pd

REPORTS = Path("reports")
Figures = dict[str, dict[str, Any]]  # of a checkpoint: {"benchmark": {…}, "quality": {…}}
Metrics = dict[str, Figures]  # of every checkpoint


def write_metrics(figures: dict[str, Any] | list[dict[str, Any]], path: Path) -> None:
    """Writes a JSON file whole or not at all, and makes its folder if need be."""
    write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Writes a text file whole or not at all, and makes its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="")
    unfinished.rename(path)


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads what `write_metrics` wrote."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def write_captions(table: "pd.DataFrame", path: Path) -> None:
    """Writes a table with a row per picture: image, caption and tokens are text, whatever is in it."""
    # A carriage return ends a row where nothing quotes it, and Python 3.11 quotes only what it has to.
    write_text(table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC), path)


def read_captions(path: Path) -> "pd.DataFrame":
    """Reads what `write_captions` wrote."""
    import pandas as pd

    # Else pandas would take captions such as «null» or «007» for what they are not.
    text = {"image": str, "caption": str, "tokens": str}
    return pd.read_csv(path, keep_default_na=False, dtype=text)
