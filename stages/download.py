"""DVC stage `download`: brings the chosen model into `models/baseline`, as float32 safetensors."""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from pathlib import Path
from tempfile import TemporaryDirectory

from stages.captioner.checkpoint import BASELINE, WEIGHTS, Manifest, replacing, save_weights, seal, sha256
from stages.captioner.command_line import InputError, run
from stages.captioner.instruction_sets import instruction_sets
from stages.captioner.runtimes.cores import usable_cores
from stages.captioner.runtimes.helpers import check_threads
from stages.records.machine import library_versions
from stages.setup.params import HubSource, Source, UntrainedSource, read_params
from stages.sources.contents import INDEX, PICKLE, check_folder
from stages.sources.hub import fetch


def download(source: Source, output: Path) -> None:
    """Writes the model of a source as the baseline checkpoint.

    Raises InputError if the source can't be reached or is not a BLIP captioning model; nothing is left behind then.
    """
    given = _given_folder(source)
    # Their import takes seconds, for which nobody need wait whose source can't be reached.
    from stages.captioner.runtimes.pytorch import weights
    from stages.sources.model import build_untrained, load_blip
    from stages.sources.processor import write_processor

    with replacing(output) as unfinished:
        with TemporaryDirectory(dir=unfinished) as made:
            folder = given or Path(made)
            model = build_untrained(source, folder) if isinstance(source, UntrainedSource) else load_blip(folder)
            write_processor(folder, model.config, unfinished)
        model.config.to_json_file(unfinished / "config.json", use_diff=False)
        save_weights(weights(model), unfinished)
        manifest = Manifest(
            origin=source.model_dump(mode="json", exclude_none=True),
            recipe={},
            passes={},
            libraries=library_versions("torch", "transformers"),
            validated_on=instruction_sets(),
        )
        seal(unfinished, manifest)


def _given_folder(source: Source) -> Path | None:
    """Where a source's files are, fetched if need be; None if it has none."""
    if isinstance(source, HubSource):
        return _fetch_verified(source)
    if isinstance(source, UntrainedSource):
        return None
    check_folder(Path(source.folder))
    return Path(source.folder)


def _fetch_verified(source: HubSource) -> Path:
    folder = fetch(source)
    if (folder / WEIGHTS).is_file() or (folder / INDEX).is_file():  # which transformers prefers to a pickle
        return folder
    file = folder / PICKLE
    digest = sha256(file)
    if source.sha256 is None:
        raise InputError(f"{source.hub} has only pickled weights: pin them with sha256: {digest} in params.yaml")
    if digest != source.sha256:
        raise InputError(f"{source.hub}: {PICKLE} has SHA-256 {digest}, not the one in params.yaml: do not trust it")
    return folder


def main() -> None:
    """Downloads the model that params.yaml chooses."""
    check_threads("stages.download", "pytorch", usable_cores())
    download(read_params().chosen_model().source, BASELINE)


if __name__ == "__main__":
    run(main)
