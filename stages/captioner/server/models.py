"""The one model that a server has, as each API lists it."""

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse

from ..checkpoint import MANIFEST, manifest_bytes, parse_manifest
from .ollama import timestamp

List = Callable[[Request], Coroutine[Any, Any, JSONResponse]]
FAMILY = "blip"


class Model(NamedTuple):
    """A checkpoint: the name of its folder, the SHA-256 of its manifest, its size in bytes, since when it is there
    (Unix time), and what it runs in."""

    name: str
    digest: str
    size: int
    modified: float
    runtime: str


def describe(checkpoint: Path) -> Model:
    """What a checkpoint is called and is. Raises InputError if there is none."""
    content = manifest_bytes(checkpoint)
    manifest = parse_manifest(checkpoint, content)
    return Model(
        name=checkpoint.resolve().name,
        digest=hashlib.sha256(content).hexdigest(),
        size=sum(record.bytes for record in manifest.files.values()),
        modified=(checkpoint / MANIFEST).stat().st_mtime,
        runtime=manifest.runtime,
    )


def as_openai(model: Model) -> List:
    """Answers GET /v1/models."""
    entry = {"id": model.name, "object": "model", "created": int(model.modified), "owned_by": "local"}
    return _always({"object": "list", "data": [entry]})


def as_ollama(model: Model) -> List:
    """Answers GET /api/tags."""
    entry = {
        "name": model.name,
        "model": model.name,
        "modified_at": timestamp(model.modified),
        "size": model.size,
        "digest": model.digest,
        "details": _details(model),
    }
    return _always({"models": [entry]})


def details(model: Model) -> List:
    """Answers POST /api/show, of whichever model it asks."""
    same = {"details": _details(model), "modified_at": timestamp(model.modified)}
    return _always(same | {"model_info": {"general.architecture": FAMILY}, "capabilities": ["completion", "vision"]})


def _details(model: Model) -> dict[str, Any]:
    return {"format": model.runtime, "family": FAMILY, "families": [FAMILY]}


def _always(answer: dict[str, Any]) -> List:
    async def endpoint(_: Request) -> JSONResponse:
        return JSONResponse(answer)

    return endpoint
