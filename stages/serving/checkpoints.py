"""Checkpoints as they are timed under load: whose captions are of equal length, without anybody asking for that."""

import shutil
from pathlib import Path

from stages.captioner.checkpoint import read_manifest, seal
from stages.captioner.runtimes.decoding import Decoding


def with_decoding(source: Path, decoding: Decoding, folder: Path) -> Path:
    """A copy of a checkpoint that captions by another decoding unless it is asked otherwise."""
    shutil.copytree(source, folder)
    seal(folder, read_manifest(source).model_copy(update={"decoding": decoding}))
    return folder
