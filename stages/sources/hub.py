"""Fetches a pinned commit's files from a Hugging Face Hub into the Hub client's own cache, and resumes what broke off.

Plain HTTP, without the Hub's client: it deletes what it has of a file when a connection breaks for good (2.4), loses up
to 10 MB at each break, takes no other way where the storage behind Xet is blocked, and tells the Hub what is installed
here. Whatever a Hub offers through Xet it offers over HTTP too.
"""

from stages.sources.hub_environment import without_password  # first, as its docstring says

# isort: split

import fcntl
import logging
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]
from huggingface_hub.utils.sha import git_hash
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich import print
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from stages.captioner.checkpoint import WEIGHTS, sha256
from stages.captioner.command_line import NO_SPACE, InputError, brief
from stages.setup.params import HubSource
from stages.sources.contents import (
    CONFIGURATION,
    IMAGE_PROCESSORS,
    INDEX,
    PICKLE,
    PICKLE_INDEX,
    TRAINERS_FOLDER,
    VOCABULARIES,
    check_configuration,
    check_folder,
    choose_weights,
    say_left_out,
    weight_files,
)

PAUSES = (0.25, 0.5, 1, 2)  # seconds before each further attempt, while none brings anything new
LONGEST_WAIT = 60  # seconds that a server may ask to wait before an attempt
BUSY = {408, 429, 500, 502, 503, 504}  # HTTP statuses that may be another in a moment
LARGE = 10_000_000  # bytes from which on progress is shown
MOST_PAGES = 100  # of a list of files, of which the Hub gives 1000 at a time
LARGEST_LIST = 100_000_000  # bytes of all its pages
# How a connection may fail: httpx2's own errors, and Python's where an address or a header is not one.
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError)


class _Busy(httpx2.HTTPError):
    """The server answered, but has nothing for us now; it asks to wait for so many seconds."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


PASSING = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, _Busy)


class _GitLfs(BaseModel):
    oid: str


class _File(BaseModel):
    """An entry of the Hub's list of a commit: a file, or a folder.

    `oid` is what Git calls it by, a SHA-1 of the content; `lfs` has the SHA-256 of what Git itself does not hold.
    """

    type: str = "file"
    path: str
    oid: str
    size: int = 0
    lfs: _GitLfs | None = None


class _Page(NamedTuple):
    """A part of the Hub's list, how many bytes it had, and what to ask for to get the next; None behind the last."""

    entries: list[_File]
    bytes: int
    next_query: str | None


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
    blobs = folder.parents[1] / "blobs"
    looked_at = blobs / f"{source.revision}.looked-at"  # so that all there is of the commit is known here
    whole = _is_whole(folder)
    if whole and looked_at.exists():
        return folder
    if constants.HF_HUB_OFFLINE:
        if whole:  # another program fetched it, and perhaps not all that counts
            check_folder(folder)
            return folder
        raise InputError(
            f"{source.hub} is not in the download cache, and HF_HUB_OFFLINE forbids to fetch it: unset that and run "
            "this again; without a network, set model to demo or blip-base-untrained"
        )
    blobs.mkdir(parents=True, exist_ok=True)
    with _connect(source) as client:
        _fetch_model(client, source, folder)
    looked_at.touch()
    return folder


def _fetch_model(client: httpx2.Client, source: HubSource, folder: Path) -> None:
    entries = _list_files(client, source)
    offered = {name: entry for name, entry in entries.items() if entry.type == "file"}
    where = f"{source.hub} at commit {source.revision}"
    chosen = choose_weights(where, entries, [name for name in entries if TRAINERS_FOLDER.fullmatch(name)])
    if chosen == PICKLE_INDEX:
        raise InputError(
            f"{where} has only pickled weights, in several files, which can't be pinned: load it with from_pretrained "
            "and save_pretrained() it to a folder"
        )
    for name in CONFIGURATION:
        if name in offered:
            _fetch_file(client, source, offered[name], folder)
    check_configuration(folder)
    if chosen == INDEX:
        _fetch_file(client, source, offered[INDEX], folder)
    files = weight_files(folder, chosen)
    if missing := [name for name in files if name not in offered]:
        raise InputError(f"{source.hub} has no {missing[0]} at commit {source.revision}: choose another model")
    for name in files:
        _fetch_file(client, source, offered[name], folder)
    say_left_out(where, files, offered)


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
        and (has(WEIGHTS, PICKLE) or (has(INDEX) and all(has(name) for name in weight_files(folder, INDEX))))
    )


def _connect(source: HubSource) -> httpx2.Client:
    _check_endpoint()
    try:
        token = _token()
        headers = {"User-Agent": "blip-on-cpu", "Accept-Encoding": "identity"}
        return httpx2.Client(
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            follow_redirects=True,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    except InputError:
        raise
    except Exception as error:  # proxies, certificates, the token's file: each has its own kinds
        raise _unreachable(source, error) from None


def _token() -> str | None:
    """The user's token, if there is one. Raises InputError if it can't be sent, as errors of HTTP would quote it."""
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it would quote a damaged file of tokens
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise InputError(
            "the Hub's token has characters that no token has: correct HF_TOKEN or unset it, or, if it is from a "
            "file, run `hf auth login` again"
        )
    return token


def _check_endpoint() -> None:
    address = constants.ENDPOINT
    try:
        endpoint = httpx2.URL(address)
        if endpoint.scheme not in ("http", "https") or not endpoint.host:
            raise httpx2.InvalidURL("not an address")
    except httpx2.InvalidURL:
        shown = without_password(address)
        raise InputError(f"HF_ENDPOINT is {shown!r}, which is no address: correct it or unset it") from None


def _list_files(client: httpx2.Client, source: HubSource) -> dict[str, _File]:
    """The files and folders of a commit, by their names. Those within its folders are not among them."""
    files: dict[str, _File] = {}
    asked: list[str] = []
    bytes_left = LARGEST_LIST
    query: str | None = ""
    while query is not None:
        if query in asked:
            raise _endless(source, "leads back to a page that was read")
        if len(asked) == MOST_PAGES:
            raise _endless(source, f"has more than {MOST_PAGES} pages")
        asked.append(query)
        page = _list_page(client, source, query, bytes_left)
        files |= {entry.path: entry for entry in page.entries if Path(entry.path).name == entry.path}
        bytes_left, query = bytes_left - page.bytes, page.next_query
    return files


def _list_page(client: httpx2.Client, source: HubSource, query: str, most: int) -> _Page:
    attempt = 0
    while True:
        try:
            return _list_page_once(client, source, query, most)
        except PASSING as error:
            _pause(source, error, attempt)
            attempt += 1
        except FAILURES as error:
            raise _unreachable(source, error) from None


def _list_page_once(client: httpx2.Client, source: HubSource, query: str, most: int) -> _Page:
    address = f"{constants.ENDPOINT}/api/models/{source.hub}/tree/{source.revision}"
    content = bytearray()
    with client.stream("GET", f"{address}?{query}" if query else address) as response:
        _check_status(response, source)
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > most:
                raise _endless(source, f"has more than {LARGEST_LIST / 1e6:.0f} MB")
    try:
        entries = TypeAdapter(list[_File]).validate_json(content)
    except ValidationError:
        kind = response.headers.get("Content-Type", "something")[:60]
        raise _unreachable(source, f"{kind} came instead of a list of files; the network may ask for a login") from None
    return _Page(entries, len(content), next_query(response))


def next_query(response: httpx2.Response) -> str | None:
    """What to ask a list for to get the page behind this one; None if this is the last.

    Only the query of the link: a mirror passes on the Hub's answers, and the host in them is not to see the token.
    """
    link = response.links.get("next")
    return link["url"].partition("?")[2].partition("#")[0] if link else None


def _pause(source: HubSource, failure: Exception, attempt: int) -> None:
    """Waits before a further attempt, as long as a server asks for. Raises InputError if that is too long, or if there
    were enough attempts.
    """
    asked = failure.wait if isinstance(failure, _Busy) else 0
    if asked > LONGEST_WAIT:
        raise _unreachable(source, f"{failure}, and asks to wait {asked:.0f} s") from None
    if attempt >= len(PAUSES):
        raise _unreachable(source, failure) from None
    if asked > PAUSES[attempt]:
        print(f"{failure}: waiting {asked:.0f} s")
    time.sleep(max(asked, PAUSES[attempt]))


def seconds_to_wait(headers: Mapping[str, str]) -> float:
    """How long a server asks to wait, by `Retry-After`, a number or a date, or by the Hub's `RateLimit`; 0 if not."""
    given = headers.get("Retry-After", "")
    try:
        limit = parse_ratelimit_headers(headers)
        if limit and not limit.remaining:
            return limit.reset_in_seconds
        return float(given) if given.isdecimal() else max(0, parsedate_to_datetime(given).timestamp() - time.time())
    except (ValueError, OverflowError):  # it is none of these
        return 0


def _check_status(response: httpx2.Response, source: HubSource) -> None:
    if response.is_success:
        return
    match response.headers.get("X-Error-Code"):
        case "GatedRepo":
            raise InputError(f"{source.hub} asks for a login: accept its terms on the Hub and run `hf auth login`")
        case "RevisionNotFound":
            raise InputError(f"{source.hub} has no commit {source.revision}: correct its revision in params.yaml")
        case "RepoNotFound":
            raise InputError(
                f"the Hub has no model {source.hub}, or not for you: correct its name in params.yaml, or, if it is "
                "private, run `hf auth login` or set HF_TOKEN"
            )
    match response.status_code:
        case HTTPStatus.UNAUTHORIZED:
            raise InputError(
                f"the Hub gives out {source.hub} only to who is logged in: run `hf auth login` or correct HF_TOKEN"
            )
        case HTTPStatus.NOT_FOUND:
            raise InputError(
                f"the server lacks files of {source.hub} at commit {source.revision}: correct name and revision in "
                "params.yaml, or HF_ENDPOINT if that is set"
            )
    answer = f"the server answered {response.status_code} {responses.get(response.status_code, '')}".strip()
    if response.status_code in BUSY:
        raise _Busy(answer, seconds_to_wait(response.headers))
    raise httpx2.HTTPError(answer)


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
        if _is_damaged(part, file):
            part.unlink()
            raise InputError(f"{file.path} of {source.hub} was damaged on its way: run this again")
        part.rename(target)


def _is_damaged(part: Path, file: _File) -> bool:
    return sha256(part) != file.lfs.oid if file.lfs else git_hash(part.read_bytes()) != file.oid


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
                failure: Exception = httpx2.RemoteProtocolError("the connection was closed early")
            except PASSING as error:
                failure = error
            except FAILURES as error:
                raise _unreachable(source, error) from None
            if stream.tell() > farthest:
                farthest, idle = stream.tell(), 0
            else:
                _pause(source, failure, idle)
                idle += 1


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


def _endless(source: HubSource, what: str) -> InputError:
    return InputError(
        f"the list of files of {source.hub} {what}: correct HF_ENDPOINT if it is set, or download the model by hand "
        "and name its folder in params.yaml"
    )
