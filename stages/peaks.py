"""DVC stage `peaks`: measures what this machine can do at best, once for all checkpoints that are compared with it."""

from stages.captioner.command_line import run
from stages.measure.metrics import REPORTS, write_metrics
from stages.measure.peaks import measure_peaks
from stages.params import read_params


def main() -> None:
    """Writes reports/peaks.json."""
    peaks = measure_peaks(read_params().benchmark.threads)
    write_metrics(peaks._asdict(), REPORTS / "peaks.json")


if __name__ == "__main__":
    run(main)
