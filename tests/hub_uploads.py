"""What the stand-in Hub does with what is sent to it: a repository is created, its card is checked, large files come by
Git LFS and small ones with the commit, as huggingface_hub sends them where there is no Xet.
"""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from tests.hub import Hub

# What the real one puts into each new repository.
GIT_ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
BY_LFS = (".bin", ".data", ".onnx", ".safetensors")
TASKS, LICENSES = {"image-to-text"}, {"bsd-3-clause", "mit", "other"}


def receive(handler: BaseHTTPRequestHandler, hub: "Hub") -> tuple[int, Any]:
    """The status and the JSON that answer a POST or a PUT."""
    path, body = unquote(urlsplit(handler.path).path), read_body(handler)
    if path.startswith("/storage/"):  # by an address that is a secret itself
        oid = path.removeprefix("/storage/")
        hub.uploaded[oid] = body
        return (200, {}) if hashlib.sha256(body).hexdigest() == oid else (400, {})
    if handler.headers["Authorization"] != f"Bearer {hub.token}":
        return 401, {"error": "Invalid credentials in Authorization header"}
    hub.received.append(path)
    api = f"/api/models/{hub.repository}"
    if path == "/api/repos/create":
        given = json.loads(body)
        assert f"{given['organization']}/{given['name']}" == hub.repository
        (hub.folder / ".gitattributes").write_text(GIT_ATTRIBUTES)
        return 200, {"url": f"{hub.endpoint}/{hub.repository}"}
    if path == "/api/validate-yaml":
        errors = [{"message": error} for error in errors_of_card(json.loads(body)["content"])]
        return 400 if errors else 200, {"errors": errors, "warnings": []}
    if path == f"{api}/preupload/main":
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = {name: "lfs" if name.endswith(BY_LFS) else "regular" for name in names}
        return 200, {"files": [{"path": name, "uploadMode": modes[name], "shouldIgnore": False} for name in names]}
    if path == f"/{hub.repository}.git/info/lfs/objects/batch":
        return 200, {"transfer": "basic", "objects": [upload_of(own, hub) for own in json.loads(body)["objects"]]}
    if path == f"{api}/commit/main":
        for line in body.splitlines():
            apply(json.loads(line), hub)
        address = f"{hub.endpoint}/{hub.repository}/commit/{hub.commit}"
        return 200, {"success": True, "commitOid": hub.commit, "commitUrl": address}
    return 404, {"error": f"no {path} here"}


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if "Content-Length" in handler.headers:
        return handler.rfile.read(int(handler.headers["Content-Length"]))
    body = b""
    while size := int(handler.rfile.readline(), 16):  # chunks
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def errors_of_card(text: str) -> list[str]:
    """What the real one would refuse of a card's header, as far as is known."""
    _, header, _ = text.split("---\n", 2)
    data = yaml.safe_load(header)
    errors = [f"license is {data['license']}"] if data.get("license", "mit") not in LICENSES else []
    errors += [f"pipeline_tag is {data['pipeline_tag']}"] if data["pipeline_tag"] not in TASKS else []
    for model in data.get("model-index", []):
        for result in model["results"]:
            complete = {"type"} <= result["task"].keys() and {"type", "name"} <= result["dataset"].keys()
            complete &= all({"type", "value"} <= metric.keys() for metric in result["metrics"])
            errors += [] if complete else [f"model-index of {model['name']} is incomplete"]
    return errors


def upload_of(given: dict[str, Any], hub: "Hub") -> dict[str, Any]:
    return {**given, "actions": {"upload": {"href": f"{hub.storage}/storage/{given['oid']}"}}}


def apply(operation: dict[str, Any], hub: "Hub") -> None:
    own = operation["value"]
    if operation["key"] == "header":
        return
    target = hub.folder / Path(own["path"]).name
    assert target.relative_to(hub.folder).as_posix() == own["path"], "this stand-in knows no folders"
    if operation["key"] == "file":
        target.write_bytes(base64.b64decode(own["content"]))
    elif operation["key"] == "lfsFile":
        target.write_bytes(hub.uploaded[own["oid"]])
    else:
        raise AssertionError(operation["key"])
