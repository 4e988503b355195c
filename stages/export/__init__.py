"""How a model is written for each runtime: one module each, with `export(model, quantize, calibration, directory)`."""

import os

# OpenVINO and NNCF send statistics of their use unless they believe to run in a CI; models are nobody's business.
os.environ.setdefault("CI", "true")
os.environ.setdefault("NNCF_CI", "1")
