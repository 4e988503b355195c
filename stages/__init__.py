"""The stages of the pipeline. Whatever they import, nothing sends or stores statistics of its use."""

import os
import sys

# Each is read when its library is imported, and all of them are imported after this.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO and NNCF do without it if they can't import it
