"""The stages of the pipeline. Nothing that they import sends or stores statistics of its use, or needs a home."""

import os
import sys

# Each library reads its own when it is imported, which is after this.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO and NNCF take a stub instead
if os.path.expanduser("~") == "~":  # a user without an entry in the system, for whom NNCF can't be imported
    os.environ["HOME"] = "/"
