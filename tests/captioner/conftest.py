"""The tiny checkpoints of the export tests, one for each runtime."""

from tests.export.conftest import Build, build

RUNTIMES = ["quantized", "onnx_int8", "openvino_int8"]

__all__ = ["RUNTIMES", "Build", "build"]
