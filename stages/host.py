"""DVC stage `host`: records the machine, so that timings are taken again where they would differ. Always runs."""

import json
from pathlib import Path

from stages.command_line import run
from stages.machine import describe_machine

OUTPUT = Path("reports/host.json")


def main() -> None:
    """Writes reports/host.json."""
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(describe_machine(), indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
