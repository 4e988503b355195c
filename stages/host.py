"""DVC stage `host`: records what the other stages find here, so that they run again where it differs. Always runs.

That is this machine, as timings belong to it, and the user's own files that the chosen model names.
"""

from stages.command_line import run
from stages.machine import describe_machine
from stages.metrics import REPORTS, write_metrics
from stages.own_files import MODEL_FILES, PICTURES, record_model, record_pictures
from stages.params import read_params


def main() -> None:
    """Writes reports/host.json, data/inputs/model.json and data/inputs/pictures.json."""
    write_metrics(describe_machine(), REPORTS / "host.json")
    model = read_params().chosen_model()
    record_model(model.source, MODEL_FILES)
    record_pictures(model.dataset, PICTURES)


if __name__ == "__main__":
    run(main)
