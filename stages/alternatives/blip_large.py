"""BLIP-large at full size with random weights, as it comes and in PyTorch's int8, for `make rivals`: made in `models/`
by the very stages that make BLIP-base's checkpoints."""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from pathlib import Path

from stages.alternatives.rival_times import BLIP_LARGE
from stages.captioner.checkpoint import MODELS
from stages.captioner.command_line import run
from stages.download import download
from stages.optimize import optimize
from stages.records.examples import CALIBRATION
from stages.setup.params import Quantize, Recipe, Source, UntrainedSource


def make(source: Source, calibration: Path, output: Path) -> None:
    """Writes both checkpoints into a folder. Raises InputError as the stages `download` and `optimize` do."""
    plain, int8 = (output / name for name in BLIP_LARGE)
    download(source, plain)
    optimize(plain, Recipe(quantize=Quantize(scheme="dynamic-int8")), calibration, int8)


def main() -> None:
    """Makes them, with the calibration pictures that are there."""
    make(UntrainedSource(untrained="blip-large", seed=0), CALIBRATION, MODELS)


if __name__ == "__main__":
    run(main)
