"""DVC stage `host`: records the machine, so that timings are taken again where they would differ. Always runs."""

from stages.command_line import run
from stages.machine import describe_machine
from stages.metrics import REPORTS, write_metrics


def main() -> None:
    """Writes reports/host.json."""
    write_metrics(describe_machine(), REPORTS / "host.json")


if __name__ == "__main__":
    run(main)
