"""DVC stage `draft`: writes captions for checkpoints to guess words from, see `stages.captioner.runtimes.drafts`.

They are the baseline's own of the calibration pictures, so that nothing is learned from those to evaluate on, and those
of a file that params.yaml may name.
"""

import stages.setup.shared_machine  # noqa: F401  (first, as its docstring says)

# isort: split

from collections.abc import Sequence
from pathlib import Path

from rich import print
from rich.progress import track

from stages.captioner.checkpoint import BASELINE
from stages.captioner.command_line import run
from stages.captioner.inspection.tokenizer import TOKENIZER
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import CAPTIONS, LARGEST_FILE
from stages.pictures.annotations import captions_of, to_tokens
from stages.records.examples import CALIBRATION, DRAFTED, read_examples
from stages.scoring.captioning import Batch, caption_batches, processes_worth_having
from stages.setup.params import read_params


def draft(checkpoint: Path, folder: Path, decoding: Decoding, processes: int | None = None) -> list[list[int]]:
    """The captions of a dataset folder's pictures, greedily decoded, in so many processes or in this one: token ids,
    without those that begin and end. Raises InputError as `caption_batches` does."""
    greedy = Decoding(prompt=decoding.prompt, max_new_tokens=decoding.max_new_tokens)
    batches = [Batch([path], expected=[], together=False, next_tokens=False) for path, _ in read_examples(folder)]
    found = caption_batches(checkpoint, batches, greedy, processes)
    return [own.said.tokens for (own,) in track(found, "captioning", len(batches), auto_refresh=False)]


def bounded(captions: Sequence[list[int]]) -> bytes:
    """As JSON, as many of the captions as a checkpoint may have, spread evenly over all."""
    content = CAPTIONS.dump_json(list(captions))
    return content if len(content) <= LARGEST_FILE else bounded(captions[::2])


def main() -> None:
    """Writes data/drafts.json."""
    params = read_params()
    drafted = draft(BASELINE, CALIBRATION, params.decoding, processes_worth_having(BASELINE))
    given = captions_of(Path(params.drafting.captions)) if params.drafting.captions else []
    own = bounded(to_tokens(given, BASELINE / TOKENIZER))
    unfinished = DRAFTED.with_suffix(".unfinished")
    unfinished.write_bytes(bounded([*drafted, *CAPTIONS.validate_json(own)]))
    unfinished.rename(DRAFTED)
    print(f"{len(drafted)} captions of the baseline and {len(given)} of a file to guess words from")


if __name__ == "__main__":
    run(main)
