"""DVC stage `peaks`: measures what this machine can do at best, once for all checkpoints that are compared with it."""

from stages.captioner.command_line import run
from stages.captioner.runtimes.helpers import check_threads
from stages.records.machine import describe_machine
from stages.records.metrics import REPORTS, write_metrics
from stages.records.provenance import KEY, of_peaks
from stages.setup.params import read_params
from stages.timing.peaks import measure_peaks


def main() -> None:
    """Writes reports/peaks.json."""
    params = read_params()
    check_threads("stages.peaks", "openvino", params.benchmark.threads)  # which takes most of the three engines
    peaks = measure_peaks(params.benchmark.threads)
    own = of_peaks(params, describe_machine())
    write_metrics({**peaks._asdict(), KEY: own.model_dump(exclude_none=True)}, REPORTS / "peaks.json")


if __name__ == "__main__":
    run(main)
