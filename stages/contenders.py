"""DVC stage `contenders`: who could be the fastest to ship, for the stage `final` to time against each other.

A stage of its own, so that the final, which depends on nothing else of the figures, is only run again when its
contenders are others or were made anew.
"""

from pathlib import Path

from stages.captioner.checkpoint import BASELINE, MANIFEST, MODELS, read_manifest, sha256
from stages.captioner.command_line import run
from stages.choice.acceptance import contenders
from stages.choice.one_run import gather_checkpoints
from stages.records.examples import EVALUATION
from stages.records.final import CONTENDERS
from stages.records.metrics import REPORTS, write_metrics
from stages.setup.params import read_params


def name_contenders(names: list[str], models: Path) -> dict[str, str]:
    """Contenders with the SHA-256 of their manifests, which is one of all that their checkpoints hold."""
    return {name: sha256(models / name / MANIFEST) for name in names}


def main() -> None:
    """Writes reports/contenders.json."""
    params = read_params()
    metrics = gather_checkpoints([BASELINE.name, *params.variants], params, EVALUATION, REPORTS).metrics
    names = contenders(metrics, params.accept, trained=read_manifest(BASELINE).trained)
    write_metrics(name_contenders(names, MODELS), CONTENDERS)


if __name__ == "__main__":
    run(main)
