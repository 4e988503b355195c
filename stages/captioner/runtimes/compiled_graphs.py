"""What OpenVINO made of graphs for this CPU, kept for the next start, which then takes a fraction of the time.

Kept by content: other weights, settings, versions or instruction sets never find it. Where it can't be kept or read, a
start takes longer and that is all.
"""

import hashlib
import io
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checkpoint import MANIFEST, sha256
from ..instruction_sets import instruction_sets, is_arm
from .graph_captioner import CROSS
from .openvino_api import CompiledModel, Core, Model, PrePostProcessor, Type, get_version
from .openvino_products import make_convolutions_products

# A user's own settings of OpenVINO and of its kernels, such as a cap on instruction sets.
SETTINGS = ("OV_", "ONEDNN_", "DNNL_")
DIGEST_BYTES = hashlib.sha256().digest_size


def compile_graph(core: Core, graph: Path, settings: dict[str, Any], held: list[object]) -> CompiledModel:
    """Compiles an .xml of a checkpoint whose files have been verified, or takes what an earlier start made of it.

    As long as what it adds to `held` lives, the graph's weights stay mapped.
    """
    key = _key(core, graph, settings)
    folder = _folder()
    kept = _read(folder / key, key) if folder else None
    if kept is not None:
        with suppress(RuntimeError):
            compiled = core.import_model(kept, "CPU", settings | {"WEIGHTS_PATH": str(weights_file(graph))})
            held.append(compiled)
            return compiled
    model = core.read_model(graph)
    if is_arm():
        make_convolutions_products(model)
    if settings["INFERENCE_PRECISION_HINT"] != Type.f32:
        model = _pass_in_half_precision(model, settings["INFERENCE_PRECISION_HINT"])
    held.append(model)
    compiled = core.compile_model(model, "CPU", settings)
    if folder:
        exported = io.BytesIO()
        compiled.export_model(exported)
        _write(folder / key, key, exported.getvalue())
    return compiled


def _pass_in_half_precision(model: Model, precision: Type) -> Model:
    """Makes the keys and values between the graphs bfloat16 or float16: half the memory for the decoder to read at
    every token.

    A CPU that computes in float32 would convert them at every token, which takes longer than reading twice as much.
    """
    steps = PrePostProcessor(model)
    for ports, side in ((model.inputs, steps.input), (model.outputs, steps.output)):
        for port in ports:
            if port.any_name.startswith(CROSS):
                side(port.any_name).tensor().set_element_type(precision)
    return steps.build()


def weights_file(graph: Path) -> Path:
    """The file that holds the weights of an .xml."""
    return graph.with_suffix(".bin")


def _key(core: Core, graph: Path, settings: dict[str, Any]) -> str:
    parts = {
        "checkpoint": sha256(graph.parent / MANIFEST),
        "graph": graph.name,
        "settings": {name: str(value) for name, value in settings.items()},
        "openvino": get_version(),
        "cpu": [core.get_property("CPU", "FULL_DEVICE_NAME"), *instruction_sets()],
        "environment": {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _folder() -> Path | None:
    """The folder in the user's own cache, or None without one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "blip-on-cpu" / "openvino" if cache.is_absolute() else None


def _read(file: Path, key: str) -> bytes | None:
    """What `_write` wrote, or None unless it is whole and this user's own."""
    try:
        with file.open("rb") as stream:
            if hasattr(os, "getuid") and os.fstat(stream.fileno()).st_uid != os.getuid():
                return None
            digest, content = stream.read(DIGEST_BYTES), stream.read()
    except OSError:
        return None
    return content if digest == _digest(key, content) else None


def _write(file: Path, key: str, content: bytes) -> None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=file.parent)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(_digest(key, content) + content)
            Path(unfinished).replace(file)
        finally:
            Path(unfinished).unlink(missing_ok=True)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).digest()
