"""What a checkpoint directory is: its files, a manifest with their hashes; written whole or not at all."""

import codecs
import errno
import hashlib
import json
import logging
import mmap
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .command_line import NO_SPACE, SHORT, InputError, explain, few, printable, refuse_pointer
from .runtimes.decoding import Decoding
from .runtimes.helpers import Helpers

if TYPE_CHECKING:  # a checkpoint must be readable where torch is not installed
    import torch

LOGGER = logging.getLogger(__name__)
MODELS = Path("models")
BASELINE = MODELS / "baseline"
MANIFEST = "checkpoint.json"
CARD = "README.md"
# Who made the manifest, in minisign's format.
SIGNATURE = f"{MANIFEST}.minisig"
SCHEMA_VERSION: Final = 3
WEIGHTS = "model.safetensors"
# What transformers needs beside the weights to preprocess pictures and to turn tokens into words.
PROCESSOR_FILES = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
# What systems, file managers and editors strew over folders: no part of a checkpoint.
STREWN = re.compile(
    r"\.DS_Store|\._.*|\.AppleDouble|\.localized|Icon\r|__MACOSX|\.Spotlight-V100|\.Trashes|\.fseventsd"
    r"|(eh)?thumbs\.db|desktop\.ini|System Volume Information|\$RECYCLE\.BIN"
    r"|\.directory|\.Trash-\d+|\.nfs[0-9a-f]+|\.fuse_hidden.*|lost\+found|@eaDir"
    r"|\.ipynb_checkpoints|\..*\.sw[a-p]|\.#.*|.*~|\.~lock\..*#",
    re.IGNORECASE,
)
# The signature, the card and the licence, which may change with what is known of a checkpoint, and what a Hub, its
# client and Git keep beside: no part of it either, and nothing to warn of.
BESIDE = re.compile(
    rf"{re.escape(SIGNATURE)}|{re.escape(CARD)}|LICENSE|\.gitattributes|\.git(/.*)?|\.cache/huggingface(/.*)?"
)
# How the name ends of what says that a directory is being written.
UNFINISHED_LOCK = ".unfinished.lock"
# Far above what any BLIP needs, so that what somebody else wrote can take neither all memory nor all day.
LARGEST_MANIFEST = 1024**2  # bytes; a full-size model's has 20 KB
LARGEST_CHECKPOINT = 16 * 1024**3  # bytes; BLIP-large has 2 GB in float32
LONGEST_NAME = 255
MOST_FILES = 1000


def _check_name(name: str) -> str:
    windows = PureWindowsPath(name)
    inside = (
        windows.name and not windows.anchor and ".." not in windows.parts and PurePosixPath(name).as_posix() == name
    )
    if not inside or len(name) > LONGEST_NAME or "\0" in name:
        raise ValueError(f"{name[:80]!r} is not the name of a file in the checkpoint")
    return name


def _check_number(files: Any) -> Any:
    """Before any is looked at: pydantic would find something wrong with each of a million."""
    if isinstance(files, dict) and len(files) > MOST_FILES:
        raise ValueError(f"{len(files)} files are more than the {MOST_FILES} that a checkpoint may have")
    return files


FileName = Annotated[str, AfterValidator(_check_name)]


class FileRecord(BaseModel):
    """Size and hash of one file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Quantized(BaseModel):
    """What those who open a checkpoint read of its quantization."""

    weight_bits: Literal[7, 8] | None = None
    dynamic_quantization_group: Literal["auto"] | Annotated[int, Field(ge=0, le=1_000_000)] = "auto"
    int8_layers_db: dict[str, float] = {}


def _check_passes(passes: dict[str, Any]) -> dict[str, Any]:
    if "quantize" in passes:
        try:
            _Quantized.model_validate(passes["quantize"])
        except ValidationError as error:
            raise ValueError(f"quantize: {explain(error)}") from None
    return passes


def _check_total(files: dict[str, FileRecord]) -> dict[str, FileRecord]:
    if sum(record.bytes for record in files.values()) > LARGEST_CHECKPOINT:
        raise ValueError(f"the files have more than {LARGEST_CHECKPOINT // 1024**3} GB together")
    return files


class Manifest(BaseModel):
    """`checkpoint.json`: where a checkpoint came from, how it was made, and what it consists of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[3] = SCHEMA_VERSION
    runtime: Literal["pytorch", "onnxruntime", "openvino"] = "pytorch"
    origin: dict[str, Any]
    recipe: dict[str, Any]
    passes: Annotated[dict[str, Any], AfterValidator(_check_passes)]
    libraries: dict[str, str]
    validated_on: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=100)]
    decoding: Decoding = Decoding()
    files: Annotated[dict[FileName, FileRecord], AfterValidator(_check_total), BeforeValidator(_check_number)] = {}

    @property
    def trained(self) -> bool:
        """Whether the captions mean anything."""
        return "untrained" not in self.origin

    @property
    def weight_bits(self) -> int | None:
        """How many bits the weights have beside int8 activations in an engine; None where no engine meets them so."""
        bits: int | None = self.passes.get("quantize", {}).get("weight_bits")
        return bits

    @property
    def worst_int8_layer(self) -> tuple[str, float] | None:
        """The int8 layer whose output is least far above int8's error, and by how many decibels; None without int8."""
        errors: dict[str, float] = self.passes.get("quantize", {}).get("int8_layers_db", {})
        return min(errors.items(), key=lambda item: item[1], default=None)


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A temporary directory that takes the place of `directory` if all goes well and vanishes if not.

    Where `directory` is a link to another folder, it takes that folder's place. Its files get the modes that the umask
    asks for, whatever the libraries that wrote them think. Whoever comes while another process is at it waits, as does
    a stage for the one that a killed `dvc repro` left behind.
    """
    directory = directory.resolve()
    lock = directory.with_name(f".{directory.name}{UNFINISHED_LOCK}")
    unfinished = lock.with_suffix("")
    with ExitStack() as stack:
        with _access(directory, "written"):
            stack.enter_context(_alone(lock))
            _delete(unfinished)
            unfinished.mkdir(parents=True)
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        yield unfinished
        with _access(directory, "written"):
            mode = stat.S_IMODE(unfinished.stat().st_mode)
            for path in unfinished.rglob("*"):
                path.chmod(mode if path.is_dir() else mode & 0o666)
            _delete(directory)
            unfinished.rename(directory)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Lets one process at a time into the block. One that dies lets the next one in."""
    import fcntl  # here, as Windows has none and only opens checkpoints

    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_at(stream, lock):  # whoever had it before is done, and has removed it
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def remove_unfinished(folder: Path) -> None:
    """Removes the directories that processes began to write in a folder and that died."""
    import fcntl

    for lock in folder.glob(f".*{UNFINISHED_LOCK}"):
        with lock.open("a", encoding="utf-8") as stream, suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(stream, lock):
                _delete(lock.with_suffix(""))
                lock.unlink()


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _delete(path: Path) -> None:
    """Deletes a folder, a write-protected one too, or a file, if there is one."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(path):
        with suppress(PermissionError):  # it is another user's, and may be deleted all the same
            os.chmod(folder, 0o700)
    shutil.rmtree(path)


@contextmanager
def _access(directory: Path, purpose: str) -> Iterator[None]:
    """Raises InputError if the system does not let the block read or write a checkpoint."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise InputError(
            f"{error.filename or directory} can't be {purpose} ({error.strerror}): check its permissions and its disk"
        ) from None


def save_weights(tensors: dict[str, "torch.Tensor"], directory: Path) -> None:
    """Writes `model.safetensors`. Raises OSError as `save_tensors`."""
    save_tensors(tensors, directory / WEIGHTS, {"format": "pt"})


def save_tensors(tensors: dict[str, "torch.Tensor"], file: Path, metadata: dict[str, str]) -> None:
    """Writes a file of safetensors. Raises OSError with the system's error number if that fails."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, file, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def seal(directory: Path, manifest: Manifest) -> None:
    """Writes the manifest of a directory whose other files are all in place."""
    files = {
        name: FileRecord(bytes=(directory / name).stat().st_size, sha256=sha256(directory / name))
        for name in sorted(_files(directory)[0] - {MANIFEST})
    }
    sealed = manifest.model_copy(update={"files": files})
    text = json.dumps(sealed.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """What a checkpoint says of itself. Raises InputError if there is no checkpoint."""
    return parse_manifest(directory, manifest_bytes(directory))


def manifest_bytes(directory: Path) -> bytes:
    """A checkpoint's manifest as it lies there. Raises InputError if there is none, or one of absurd size."""
    with _access(directory, "read"):
        if not directory.is_dir():
            raise InputError(
                f"there is no checkpoint at {directory}: correct the path, or make it with `dvc repro` or fetch "
                "it with `dvc pull` in its project"
            )
        refuse_pointer(directory / MANIFEST)
        if not (directory / MANIFEST).is_file():
            raise InputError(
                f"{directory} has no {MANIFEST}, so it is not a checkpoint of this project: name one of its models/"
            )
    return read_small(directory / MANIFEST, LARGEST_MANIFEST)


class _AnyManifest(BaseModel):
    """What manifests of all versions have in common."""

    schema_version: int


def parse_manifest(directory: Path, content: bytes) -> Manifest:
    """A checkpoint's manifest from its bytes. Raises InputError if it is none, or of another version.

    Says nothing of what it holds unless it is a manifest: as a link, it may be anybody's file.
    """
    path = directory / MANIFEST
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        version = _AnyManifest.model_validate_json(content, strict=True).schema_version
    except ValidationError:
        raise InputError(
            f"{path} is not a manifest that this version can read (it is no JSON with a schema_version): rebuild it"
        ) from None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} is not a manifest that this version can read (its schema_version is {SHORT.repr(version)}, not "
            f"{SCHEMA_VERSION}): open it with the version that made it, or rebuild it"
        )
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a manifest that this version can read ({explain(error)}): rebuild it"
        ) from None


def open_regular(file: Path) -> BinaryIO:
    """Opens a regular file to read. Raises OSError, also if it is a pipe or a device, of which a read may never end."""
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    stream = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "no regular file", str(file))
    return stream


def read_small(file: Path, most: int) -> bytes:
    """The bytes of a regular file. Raises InputError if it can't be read or has more bytes than `most`."""
    refuse_pointer(file)
    with _access(file, "read"), open_regular(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise InputError(f"{file} has more than the {most:,} bytes that it may have: rebuild it")
    return content


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compares a checkpoint's files with its manifest. Raises InputError if one is missing, surplus or altered.

    A file may be a link to a regular file, wherever that is, as DVC lays its cache out: it is only ever read, and what
    it holds counts, which the manifest's hash settles. A folder may not be a link, nor may there be a link to nowhere,
    a pipe or a device: nobody knows what those will hold when somebody reads them. The card, a signature and what a Hub
    keeps beside may be there or not, whatever they hold.

    Logs a warning of what the system strew about there, which it passes over.
    """
    remedy = (
        "copy it again, or, in its project, fetch it with `dvc pull --force` or rebuild it with `dvc repro --force`"
    )
    files = {name: record for name, record in manifest.files.items() if not BESIDE.fullmatch(name)}
    with _access(directory, "read"):
        for name in files:
            refuse_pointer(directory / name)
        present, strewn = _files(directory)
        if missing := files.keys() - present:
            raise InputError(f"{directory} lacks {few(missing)}: {remedy}")
        if surplus := present - files.keys() - {MANIFEST}:
            raise InputError(f"{directory} holds {few(surplus)}, which {MANIFEST} does not list: remove or rebuild it")
        if strewn:
            LOGGER.warning("passed over in %s: %s", printable(directory), few(strewn))
        for name, record in files.items():
            if (directory / name).stat().st_size != record.bytes:
                raise InputError(f"{directory / name} is damaged, its size is not the one in {MANIFEST}: {remedy}")
        with Helpers() as pool:
            digests = dict(zip(files, pool.map(lambda name: sha256(directory / name), files), strict=True))
        for name, record in files.items():
            if digests[name] != record.sha256:
                raise InputError(f"{directory / name} is damaged, its SHA-256 is not the one in {MANIFEST}: {remedy}")


def checkpoint_bytes(directory: Path) -> int:
    """Bytes on disk of everything that belongs to a checkpoint directory."""
    return sum((directory / name).stat().st_size for name in _files(directory)[0])


def _files(directory: Path) -> tuple[set[str], set[str]]:
    """The names of a checkpoint's files, and of those that lie among them by accident, relative to its directory.

    Raises InputError if something is neither file nor folder, or if there are too many.
    """
    files: set[str] = set()
    strewn: set[str] = set()
    for number, path in enumerate(_walk(directory)):
        if number > 2 * MOST_FILES:
            raise InputError(
                f"{directory} holds more than {MOST_FILES} files, so it is no checkpoint: correct the path"
            )
        name = path.relative_to(directory)
        if any(map(STREWN.fullmatch, name.parts)):
            strewn.update({name.as_posix()} if path.is_file() else ())
        elif path.is_file():
            files.add(name.as_posix())
        elif path.is_symlink() or not path.is_dir():
            raise InputError(f"{path} is neither a file nor a link to one: remove it, or copy the checkpoint again")
    return files, strewn


def _walk(directory: Path) -> Iterator[Path]:
    """All that is below a directory but what lies beside the checkpoint. Links to folders are not followed.

    Raises OSError if a folder can't be listed.
    """
    folders = [directory]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if BESIDE.fullmatch(path.relative_to(directory).as_posix()):
                    continue
                yield path
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    if file.stat().st_size == 0:  # which can't be mapped
        return hashlib.sha256().hexdigest()
    # All at once: a thread that hashes block by block would have to wait for the interpreter between any two.
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
