"""A stand-in for the Hugging Face Hub on loopback: as much of its HTTP interface as a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Serves one model repository at one commit from a folder. `cut_after` breaks off that many bytes into a file."""

    def __init__(self, repository: str, commit: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository, self.commit, self.folder = repository, commit, folder
        self.cut_after: int | None = None
        self.requested_ranges: list[str] = []
        self.downloaded: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        hub = self.server
        api, files = f"/api/models/{hub.repository}", f"/{hub.repository}/resolve/"
        if path.startswith(f"{api}/tree/") or path.startswith(f"{api}/revision/"):
            commit = path.split("/")[6]
            if commit != hub.commit:
                return self._error("RevisionNotFound", f"Invalid rev id: {commit}")
            return self._json(self._tree() if "/tree/" in path else self._revision())
        if path.startswith(files):
            commit, _, name = path.removeprefix(files).partition("/")
            if commit != hub.commit:
                return self._error("RevisionNotFound", f"Invalid rev id: {commit}")
            if not (hub.folder / name).is_file():
                return self._error("EntryNotFound", "Entry not found")
            return self._file(hub.folder / name, with_body)
        return self._error("RepoNotFound", "Repository not found")

    def _tree(self) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": file.name,
                "size": file.stat().st_size,
                "oid": hashlib.sha1(file.name.encode()).hexdigest(),
            }
            for file in sorted(self.server.folder.iterdir())
        ]

    def _revision(self) -> dict[str, object]:
        files = [{"rfilename": file.name} for file in sorted(self.server.folder.iterdir())]
        return {"id": self.server.repository, "sha": self.server.commit, "siblings": files}

    def _file(self, file: Path, with_body: bool) -> None:
        content = file.read_bytes()
        first = 0
        if requested := self.headers.get("Range"):
            self.server.requested_ranges.append(requested)
            first = int(requested.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            self.server.downloaded.append(file.name)
            body = content[first:]
            if self.server.cut_after is not None and len(body) > self.server.cut_after:
                self.wfile.write(body[: self.server.cut_after])
                self.close_connection = True
            else:
                self.wfile.write(body)

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, code: str, message: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(repository: str, commit: str, folder: Path) -> Iterator[Hub]:
    """A running stand-in."""
    hub = Hub(repository, commit, folder)
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
