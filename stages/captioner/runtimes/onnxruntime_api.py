"""ONNX Runtime's API for inference, imported so that it neither stores nor sends statistics of its use.

It asks the environment whether it may, once, while it is imported. Its own `disable_telemetry_events` comes too late:
an identifier and a database lie in the user's home by then.
"""

import os

SWITCH = "ORT_DISABLE_TELEMETRY"

undecided = SWITCH not in os.environ
if undecided:
    os.environ[SWITCH] = "1"
try:
    from onnxruntime import InferenceSession, OrtValue, SessionOptions
finally:
    if undecided:
        del os.environ[SWITCH]  # the environment is the program's that we are a part of

__all__ = ["InferenceSession", "OrtValue", "SessionOptions"]
