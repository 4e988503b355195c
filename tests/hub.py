"""A stand-in for the Hugging Face Hub on loopback: as much of its HTTP interface as a download needs, and an upload.

Like the real one it answers for small files with a relative redirect, for large ones with a redirect to another host,
and names the latter's SHA-256.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_uploads import receive

LARGE = 1_000_000  # bytes from which on a file is kept elsewhere
NOTHING: Mapping[str, str] = {}


class Hub(ThreadingHTTPServer):
    """Serves one model repository at one commit from a folder. Large files suffer what these say:

    - `cut_after` breaks off each connection after so many bytes
    - `dies_after` refuses everything once so many bytes have been sent
    - `xet` offers them through Xet too, whose storage nobody can reach

    Who has its `token` may upload. `prefix` is what a mirror's paths begin with. `page` is how many files its list has
    at a time, and `next_page` the address of the next ones, which has `{cursor}` in it. `instead` answers a request in
    the Hub's place if it returns True.
    """

    daemon_threads = True

    def __init__(self, repository: str, commit: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository, self.commit, self.folder = repository, commit, folder
        self.cut_after: int | None = None
        self.dies_after: int | None = None
        self.xet = False
        self.prefix = ""
        self.page = 1000
        self.next_page = f"{self.endpoint}/api/models/{repository}/tree/{commit}?cursor={{cursor}}"
        self.token = "hf_of_the_stand_in"
        self.uploaded: dict[str, bytes] = {}
        self.received: list[str] = []
        self.instead: Callable[[Handler], bool] = lambda handler: False
        self.requested_ranges: list[str] = []
        self.downloaded: list[str] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.sent = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        return f"http://127.0.0.2:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that has gone


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        status, answer = receive(self, self.server)
        self._json(answer, status)

    def do_PUT(self) -> None:
        self.do_POST()

    def _answer(self) -> None:
        hub = self.server
        path = unquote(urlsplit(self.path).path).removeprefix(hub.prefix)
        hub.seen.append((path, dict(self.headers)))
        if hub.instead(self):
            return None
        api, files = f"/api/models/{hub.repository}", f"/{hub.repository}/resolve/"
        if path.startswith("/small/") or path.startswith("/storage/"):
            return self._file(hub.folder / Path(path).name)
        if path == f"{api}/revision/main":
            return self._json({"id": hub.repository, "sha": hub.commit, "siblings": [], "tags": [], "private": False})
        if path.startswith(f"{api}/tree/"):
            commit = path.split("/")[6]
            return self._list() if commit == hub.commit else self._no_commit(commit)
        if path.startswith(files):
            commit, _, name = path.removeprefix(files).partition("/")
            if commit != hub.commit:
                return self._no_commit(commit)
            if not (hub.folder / name).is_file():
                return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return self._redirect(hub.folder / name)
        return self.send(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _no_commit(self, commit: str) -> None:
        self.send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {commit}"})

    def _list(self) -> None:
        hub = self.server
        files = sorted(hub.folder.iterdir())
        first = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        end = first + hub.page
        more = {"Link": f'<{hub.next_page.format(cursor=end)}>; rel="next"'} if end < len(files) else {}
        self._json([self._entry(file) for file in files[first:end]], headers=more)

    def _entry(self, file: Path) -> dict[str, object]:
        if file.is_dir():
            return {"type": "directory", "path": file.name, "size": 0, "oid": "0" * 40}
        content = file.read_bytes()
        name = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": file.name, "size": len(content), "oid": name}
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            if self.server.xet:
                entry["xetHash"] = digest
        return entry

    def _redirect(self, file: Path) -> None:
        size, digest = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
        about = {"X-Repo-Commit": self.server.commit, "X-Linked-Size": str(size), "X-Linked-ETag": f'"{digest}"'}
        if size < LARGE:
            return self.send(307, about | {"Location": f"/small/{file.name}"})
        if self.server.xet:
            token = f"{self.server.endpoint}/api/models/{self.server.repository}/xet-read-token/{self.server.commit}"
            about |= {"X-Xet-Hash": digest, "Link": f'<{token}>; rel="xet-auth"'}
        return self.send(302, about | {"Location": f"{self.server.storage}/storage/{file.name}"})

    def _file(self, file: Path) -> None:
        hub = self.server
        content = file.read_bytes()
        first = 0
        if requested := self.headers.get("Range"):
            hub.requested_ranges.append(requested)
            first = int(requested.removeprefix("bytes=").partition("-")[0])
        body = content[first:]
        about = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
            "X-Repo-Commit": hub.commit,
        }
        if first:
            about["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if len(content) >= LARGE and self.command == "GET":
            allowed = [
                limit for limit in (hub.cut_after, hub.dies_after and hub.dies_after - hub.sent) if limit is not None
            ]
            body, whole = body[: max(0, min([len(body), *allowed]))], len(body)
            self.close_connection = len(body) < whole
            hub.sent += len(body)
            if self.close_connection and not body:
                return
            self.send(206 if first else 200, about | {"Content-Length": str(whole)})
        else:
            self.send(206 if first else 200, about | {"Content-Length": str(len(body))})
        if self.command == "GET":
            hub.downloaded.append(file.name)
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200, headers: Mapping[str, str] = NOTHING) -> None:
        body = json.dumps(value).encode()
        self.send(status, {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def send(self, status: int, headers: dict[str, str]) -> None:
        """The first lines of an answer, without a body if they don't announce one."""
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(repository: str, commit: str, folder: Path) -> Iterator[Hub]:
    """A running stand-in."""
    hub = Hub(repository, commit, folder)
    storage = ThreadingHTTPServer(("127.0.0.2", hub.server_port), lambda *given: Handler(*given[:2], hub))
    threads = [threading.Thread(target=server.serve_forever, args=[0.05]) for server in (hub, storage)]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in (hub, storage):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
