"""The folder of an archive's captions: what lies where, whose captions are whose, and what a crash left there.

captions/<digest>/…parquet       captions by one checkpoint and decoding, a file for each block of pictures
captions/_corpus/manifest.parquet
captions/_corpus/<digest>/…      Ray's checkpoint: which pictures are done; what begins with _ is no data to readers
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyarrow import fs, parquet

from ..checkpoint import manifest_bytes
from ..command_line import InputError, brief
from ..runtimes.decoding import Decoding
from .manifest import MANIFEST
from .storage import absolute, is_remote, locate

STATE = "_corpus"
DIGEST_LENGTH = 16  # hexadecimal digits
PENDING = ".pending"  # how Ray names a checkpoint before its captions are all there


class Output(NamedTuple):
    """Addresses: of the folder, of the captions in it, of the manifest and of Ray's checkpoint."""

    folder: str
    captions: str
    manifest: str
    done: str


class Counts(NamedTuple):
    """Pictures that were captioned whole, captioned though cut off, and not opened."""

    whole: int
    cut_off: int
    broken: int

    @property
    def total(self) -> int:
        """All that have a row."""
        return self.whole + self.cut_off + self.broken


def digest_of(checkpoint: Path, decoding: Decoding) -> str:
    """What tells captions of one checkpoint and decoding from all others. Raises InputError if it is no checkpoint."""
    content = manifest_bytes(checkpoint) + decoding.model_dump_json().encode()
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def lay_out(folder: str, digest: str) -> Output:
    """Where everything is in an output folder."""
    top = absolute(folder)
    state = f"{top}/{STATE}"
    return Output(top, f"{top}/{digest}", f"{state}/{MANIFEST}", f"{state}/{digest}")


def other_digests(output: Output) -> list[str]:
    """Of which other checkpoints or decodings there are captions."""
    store, path = locate(output.folder)
    found = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
    names = [info.base_name for info in found if info.type == fs.FileType.Directory]
    return sorted(name for name in names if name not in (STATE, Path(output.captions).name))


@contextmanager
def alone(output: Output) -> Iterator[None]:
    """Keeps others on this machine from writing captions there meanwhile. Raises InputError if one is at it."""
    if is_remote(output.folder):
        yield
        return
    try:
        os.makedirs(Path(output.manifest).parent, exist_ok=True)
        lock = open(f"{output.folder}/{STATE}/lock", "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{output.folder} can't be written ({brief(error)}): name another output") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{output.folder} is being written by another process: wait for its end") from None
        yield


def reconcile(output: Output) -> None:
    """Removes captions that Ray doesn't know to be done, and from what it knows what has no captions.

    Ray itself removes files whose writing it knows to have been cut off. A worker that outlived its driver may have
    left others, and people delete files.
    """
    files, done = _files(output.captions), _files(output.done)
    finished = {name for name in done if not name.endswith(PENDING)}
    store, _ = locate(output.folder)
    for name, path in files.items():
        if _block_of(name) not in finished:
            store.delete_file(path)
    there = {_block_of(name) for name in files}
    for name, path in done.items():
        if name not in there or name.endswith(PENDING):
            store.delete_file(path)


def _block_of(name: str) -> str:
    """The block that a file of captions is of: Ray appends a number to its name."""
    return name.rpartition("-")[0]


def _files(address: str) -> dict[str, str]:
    """The Parquet files in a folder: names without the ending, and paths."""
    store, path = locate(address)
    found = store.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return {info.base_name.removesuffix(".parquet"): info.path for info in found if info.extension == "parquet"}


def count(output: Output) -> Counts:
    """Counts the rows of each kind by what the files' footers say."""
    store, _ = locate(output.captions)
    rows = captioned = right = 0
    for path in _files(output.captions).values():
        metadata = parquet.read_metadata(path, filesystem=store)
        rows += metadata.num_rows
        captioned += metadata.num_rows - _empty(metadata, "caption")
        right += _empty(metadata, "error")
    return Counts(whole=right, cut_off=captioned - right, broken=rows - captioned)


def _empty(metadata: parquet.FileMetaData, column: str) -> int:
    """How many values of a column are absent."""
    place = metadata.schema.names.index(column)
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(group).column(place).statistics.null_count for group in groups)
