"""OpenVINO's API for inference, imported so that it neither stores nor sends statistics of its use."""

import sys

TELEMETRY = "openvino_telemetry"

# OpenVINO would tell it of the import itself, and takes a stub if it can't import it.
present = TELEMETRY in sys.modules
if not present:
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
try:
    from openvino import CompiledModel, Core, InferRequest, Model, Tensor, Type, get_version
    from openvino.preprocess import PrePostProcessor
finally:
    if not present:
        del sys.modules[TELEMETRY]  # others in this process may want it

__all__ = ["CompiledModel", "Core", "InferRequest", "Model", "PrePostProcessor", "Tensor", "Type", "get_version"]
