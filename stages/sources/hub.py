"""Fetches a pinned commit's files from a Hugging Face Hub into the Hub client's own cache, and resumes what broke off.

Plain HTTP, without the Hub's client: it deletes what it has of a file when a connection breaks for good (2.4), loses up
to 10 MB at each break, takes no other way where the storage behind Xet is blocked, and tells the Hub what is installed
here. Whatever a Hub offers through Xet it offers over HTTP too.
"""

import stages.sources.hub_environment  # noqa: F401  (first, as its docstring says)

# isort: split

import fcntl
import time
from collections.abc import Collection, Iterator
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx2
from huggingface_hub import constants, get_token
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich import print
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from stages.captioner.checkpoint import WEIGHTS, sha256
from stages.captioner.command_line import NO_SPACE, InputError, brief
from stages.params import HubSource

PICKLE = "pytorch_model.bin"
INDEX = f"{WEIGHTS}.index.json"
IMAGE_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
VOCABULARIES = ("tokenizer.json", "vocab.txt")
CONFIGURATION = (
    "config.json",
    *IMAGE_PROCESSORS,
    *VOCABULARIES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
PAUSES = (0.25, 0.5, 1, 2)  # seconds before each further attempt, while none brings anything new
BUSY = {408, 429, 500, 502, 503, 504}  # HTTP statuses that may be another in a moment
LARGE = 10_000_000  # bytes from which on progress is shown
# How a connection may fail: httpx2's own errors, and Python's where an address or a header is not one.
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError)


class _Busy(httpx2.HTTPError):
    """The server answered, but has nothing for us now."""


PASSING = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, _Busy)


class _GitLfs(BaseModel):
    oid: str


class _File(BaseModel):
    """A file in the Hub's list of a commit; `lfs` has the SHA-256 of those that Git itself does not hold."""

    path: str
    size: int = 0
    lfs: _GitLfs | None = None


class _Index(BaseModel):
    weight_map: dict[str, str]


def fetch(source: HubSource) -> Path:
    """The folder with what is needed of a model: its configuration, and its weights in one format.

    A model that was fetched once needs no network. Connections may break as often as they like while each brings
    something; what is there of a file when they no longer do is kept for the next run.

    Raises InputError in all other cases, OSError if the disk is full.
    """
    try:
        return _fetch(source, _storage(source) / "snapshots" / source.revision)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise InputError(
            f"the download cache {constants.HF_HUB_CACHE} can't be used ({error.strerror}): "
            "set HF_HOME to a folder of yours"
        ) from None


def _fetch(source: HubSource, folder: Path) -> Path:
    if _is_whole(folder):
        return folder
    if constants.HF_HUB_OFFLINE:
        raise _unreachable(source, "HF_HUB_OFFLINE is set")
    (folder.parents[1] / "blobs").mkdir(parents=True, exist_ok=True)
    with _connect(source) as client:
        offered = _list_files(client, source)
        for name in CONFIGURATION:
            if name in offered:
                _fetch_file(client, source, offered[name], folder)
        if WEIGHTS not in offered and INDEX in offered:
            _fetch_file(client, source, offered[INDEX], folder)
        for name in _weight_files(source, folder, offered):
            _fetch_file(client, source, offered[name], folder)
    return folder


def _storage(source: HubSource) -> Path:
    cache = Path(constants.HF_HUB_CACHE)
    if cache.parts[0].startswith("~"):  # nobody could say whose
        raise InputError(f"there is no home folder to download {source.hub} to: set HF_HOME to a folder of yours")
    return cache / f"models--{source.hub.replace('/', '--')}"


def _is_whole(folder: Path) -> bool:
    def has(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    # Weights come last, so where they are the rest is, too; unless another program fetched only them.
    return (
        has("config.json")
        and has(*IMAGE_PROCESSORS)
        and has(*VOCABULARIES)
        and (has(WEIGHTS, PICKLE) or (has(INDEX) and all(has(name) for name in _shards(folder / INDEX))))
    )


def _weight_files(source: HubSource, folder: Path, offered: Collection[str]) -> list[str]:
    if WEIGHTS in offered:
        return [WEIGHTS]
    names = _shards(folder / INDEX) if INDEX in offered else [PICKLE]
    if missing := [name for name in names if name not in offered]:
        raise InputError(f"{source.hub} has no {missing[0]} at commit {source.revision}: choose another model")
    return names


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(_Index.model_validate_json(index.read_bytes()).weight_map.values()))
    except ValidationError:
        raise InputError(f"{index} does not say which files hold the weights: delete it and run this again") from None


def _connect(source: HubSource) -> httpx2.Client:
    address = constants.ENDPOINT
    try:
        endpoint = httpx2.URL(address)
        if endpoint.scheme not in ("http", "https") or not endpoint.host:
            raise httpx2.InvalidURL("not an address")
    except httpx2.InvalidURL:
        raise InputError(f"HF_ENDPOINT is {address[:100]!r}, which is no address: correct it or unset it") from None
    try:
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        headers = {"User-Agent": "blip-on-cpu", "Accept-Encoding": "identity"}
        return httpx2.Client(
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            follow_redirects=True,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    except UnicodeEncodeError:
        raise InputError("the Hub's token has characters that no token has: correct HF_TOKEN or unset it") from None
    except Exception as error:  # proxies, certificates, the token's file: each has its own kinds
        raise _unreachable(source, error) from None


def _list_files(client: httpx2.Client, source: HubSource) -> dict[str, _File]:
    try:
        response = client.get(f"{constants.ENDPOINT}/api/models/{source.hub}/tree/{source.revision}")
        _check_status(response, source)
        files = TypeAdapter(list[_File]).validate_json(response.content)
    except ValidationError:
        kind = response.headers.get("Content-Type", "something")[:60]
        raise _unreachable(source, f"{kind} came instead of a list of files; the network may ask for a login") from None
    except FAILURES as error:
        raise _unreachable(source, error) from None
    return {file.path: file for file in files if Path(file.path).name == file.path}


def _check_status(response: httpx2.Response, source: HubSource) -> None:
    if response.is_success:
        return
    match response.headers.get("X-Error-Code"):
        case "GatedRepo":
            raise InputError(f"{source.hub} asks for a login: accept its terms on the Hub and run `hf auth login`")
        case "RevisionNotFound":
            raise InputError(f"{source.hub} has no commit {source.revision}: correct its revision in params.yaml")
        case "RepoNotFound":
            raise InputError(f"the Hub has no model {source.hub}, or not for you: correct its name in params.yaml")
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise InputError(f"the Hub gives out {source.hub} only to who is logged in: run `hf auth login` again")
    answer = f"{response.status_code} {responses.get(response.status_code, '')}".strip()
    raise (_Busy if response.status_code in BUSY else httpx2.HTTPError)(f"the server answered {answer}")


def _fetch_file(client: httpx2.Client, source: HubSource, file: _File, folder: Path) -> None:
    """Puts a file of the commit into `folder`, its name being there only once all of it is."""
    target, part = folder / file.path, folder.parents[1] / "blobs" / f"{source.revision}-{file.path}.incomplete"
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # another process may be at the same file
        if target.is_file():
            part.unlink(missing_ok=True)
            return
        _fill(client, source, file, stream)
        stream.flush()
        if file.lfs and sha256(part) != file.lfs.oid:
            part.unlink()
            raise InputError(f"{file.path} of {source.hub} was damaged on its way: run this again")
        part.rename(target)


def _fill(client: httpx2.Client, source: HubSource, file: _File, stream: BinaryIO) -> None:
    """Appends the rest of a file to what `stream` holds of it."""
    if 0 < stream.tell() < file.size:
        print(f"resuming {file.path} at {stream.tell() / 1e6:.0f} of {file.size / 1e6:.0f} MB")
    columns = (TextColumn(file.path), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, disable=file.size < LARGE) as progress:
        task = progress.add_task(file.path, total=file.size)
        farthest, idle = stream.tell(), 0
        while stream.tell() != file.size:
            try:
                for position in _receive(client, source, file, stream):
                    progress.update(task, completed=position)
                failure: Exception | str = "the connection was closed early"
            except PASSING as error:
                failure = error
            except FAILURES as error:
                raise _unreachable(source, error) from None
            if stream.tell() > farthest:
                farthest, idle = stream.tell(), 0
            elif idle < len(PAUSES):
                time.sleep(PAUSES[idle])
                idle += 1
            else:
                raise _unreachable(source, failure)


def _receive(client: httpx2.Client, source: HubSource, file: _File, stream: BinaryIO) -> Iterator[int]:
    """Asks once for the rest of a file and appends what comes, yielding how many bytes are there."""
    start = stream.tell() if stream.tell() < file.size else 0
    address = f"{constants.ENDPOINT}/{source.hub}/resolve/{source.revision}/{quote(file.path)}"
    with client.stream("GET", address, headers={"Range": f"bytes={start}-"} if start else {}) as response:
        _check_status(response, source)
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            start = 0
        announced = start + int(response.headers.get("Content-Length", file.size - start))
        compressed = response.headers.get("Content-Encoding", "identity") != "identity"
        if announced != file.size and not compressed:
            kind = response.headers.get("Content-Type", "something")[:60]
            raise _unreachable(source, f"{kind} of {announced} bytes came instead of {file.path}")
        stream.seek(start)
        stream.truncate()
        for chunk in response.iter_bytes():
            stream.write(chunk)
            if stream.tell() > file.size:
                stream.truncate(0)
                raise _unreachable(source, f"more bytes than those of {file.path} came")
            yield stream.tell()


def _unreachable(source: HubSource, reason: Exception | str) -> InputError:
    return InputError(
        f"{source.hub} can't be downloaded ({brief(reason)}): check the network and run this again, it will resume; "
        "without a network, set model to demo or blip-base-untrained"
    )
