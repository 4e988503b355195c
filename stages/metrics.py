"""How figures lie on disk: JSON objects of scalars, sorted, so that `dvc metrics diff` and Git show what changed."""

import json
from pathlib import Path
from typing import Any

REPORTS = Path("reports")


def write_metrics(figures: dict[str, Any], path: Path) -> None:
    """Writes a JSON file whole or not at all, and makes its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.rename(path)


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads what `write_metrics` wrote."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures
