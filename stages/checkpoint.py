"""What a checkpoint directory is: its files, a manifest with their hashes; written whole or not at all."""

import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.command_line import InputError, explain

if TYPE_CHECKING:  # a checkpoint must be readable where torch is not installed
    import torch

MODELS = Path("models")
BASELINE = MODELS / "baseline"
MANIFEST = "checkpoint.json"
WEIGHTS = "model.safetensors"
# What transformers needs beside the weights to preprocess pictures and to turn tokens into words.
PROCESSOR_FILES = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")


class FileRecord(BaseModel):
    """Size and hash of one file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """`checkpoint.json`: where a checkpoint came from, how it was made, and what it consists of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    runtime: Literal["pytorch", "onnxruntime", "openvino"] = "pytorch"
    origin: dict[str, Any]
    recipe: dict[str, Any]
    passes: dict[str, Any]
    libraries: dict[str, str]
    validated_on: list[str]
    files: dict[str, FileRecord] = {}

    @property
    def trained(self) -> bool:
        """Whether the captions mean anything."""
        return "untrained" not in self.origin


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A temporary directory that takes the place of `directory` if all goes well and vanishes if not."""
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        shutil.rmtree(directory, ignore_errors=True)
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def save_weights(tensors: dict[str, "torch.Tensor"], directory: Path) -> None:
    """Writes `model.safetensors`. Raises OSError with the system's error number if that fails."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
        (directory / WEIGHTS).chmod(0o644)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def seal(directory: Path, manifest: Manifest) -> None:
    """Writes the manifest of a directory whose other files are all in place."""
    files = {
        file.relative_to(directory).as_posix(): FileRecord(bytes=file.stat().st_size, sha256=sha256(file))
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    sealed = manifest.model_copy(update={"files": files})
    text = json.dumps(sealed.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """What a checkpoint says of itself. Raises InputError if there is no checkpoint."""
    if not directory.is_dir():
        raise InputError(f"there is no checkpoint at {directory}: make it with `dvc repro` or fetch it with `dvc pull`")
    path = directory / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{directory} has no {MANIFEST}, so it is not a checkpoint of this project: name one of models/"
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{path} is not a manifest that this version can read ({explain(error)}): rebuild it"
        ) from None


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compares a checkpoint's files with its manifest. Raises InputError if one is missing, surplus or altered."""
    remedy = "fetch it again with `dvc pull --force` or rebuild it with `dvc repro --force`"
    present = {file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()} - {MANIFEST}
    if missing := sorted(manifest.files.keys() - present):
        raise InputError(f"{directory} lacks {', '.join(missing)}: {remedy}")
    if surplus := sorted(present - manifest.files.keys()):
        raise InputError(
            f"{directory} holds {', '.join(surplus)}, which {MANIFEST} does not list: remove or rebuild it"
        )
    with ThreadPoolExecutor() as pool:
        digests = dict(
            zip(manifest.files, pool.map(lambda name: sha256(directory / name), manifest.files), strict=True)
        )
    for name, record in manifest.files.items():
        if (directory / name).stat().st_size != record.bytes or digests[name] != record.sha256:
            raise InputError(f"{directory / name} is damaged, its SHA-256 is not the one in {MANIFEST}: {remedy}")


def checkpoint_bytes(directory: Path) -> int:
    """Bytes on disk of everything in a checkpoint directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    if file.stat().st_size == 0:  # which can't be mapped
        return hashlib.sha256().hexdigest()
    # All at once: a thread that hashes block by block would have to wait for the interpreter between any two.
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
