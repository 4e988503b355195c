"""OpenVINO's API for inference, without its tools for conversion.

`import openvino` would import those as well, which takes longer than all the rest of it.
"""

import sys

CONVERSION_TOOLS = "openvino.tools.ovc"

sys.modules.setdefault(CONVERSION_TOOLS, None)  # type: ignore[arg-type]  # OpenVINO does without them if it can't
from openvino import CompiledModel, Core, InferRequest, Model, Tensor, Type, get_version  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

if sys.modules[CONVERSION_TOOLS] is None:
    del sys.modules[CONVERSION_TOOLS]  # so that who needs them can import them

__all__ = ["CompiledModel", "Core", "InferRequest", "Model", "PrePostProcessor", "Tensor", "Type", "get_version"]
